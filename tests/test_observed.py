"""What the policy was told and shown: stored with a run, drawn again in its videos, shown in its report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from benchmarks import made_run
from policies.observation import ObservationRequest
from sim_eval.analysis.compare import compare
from sim_eval.foundation.errors import RunError
from sim_eval.report.html import html
from sim_eval.report.tables import summary
from sim_eval.rollout.episodes import Episode, Keep, run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import open_pool
from sim_eval.runs.reader import PROVENANCE, read_run
from sim_eval.runs.records import record_of
from sim_eval.samplers import Models, Unsteered
from sim_eval.video.overlay import Moment, Overlay
from sim_eval.video.render import render
from sim_eval.video.replay import View, replay
from tests import toy_run
from tests.drawing import drawing
from tests.made_up import made_up_record
from tests.toy_models import ToyCritic, ToyWithPictures
from tests.toy_task import ToyTask

GREY, RED = 90, (250, 10, 10)
SEEN = ObservationRequest(("agentview_image", "robot0_eye_in_hand_image"), image_size=32)
MODELS = Models(ToyWithPictures(), ToyCritic(), fingerprints={"policy": "abc"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    toy_run.run(tmp_path / "run", models=MODELS, episodes=2, samplers=("unsteered",))
    return tmp_path / "run"


def test_a_run_stores_instruction_request_and_first_pictures(run: Path) -> None:
    found = read_run(run)
    assert found.request == MODELS.policy.request
    assert found.instructions == ["reach the origin"]
    picture = iio.imread(run / "observed" / "agentview_image.png")
    task = ToyTask()
    task.reset(episode_keys("toy", 0, 1)[0])
    np.testing.assert_array_equal(picture, task.frame("agentview", 16))


def test_a_run_is_not_resumed_with_another_request(run: Path) -> None:
    other = dataclasses.replace(MODELS, policy=ToyWithPictures(size=32))
    with pytest.raises(RunError, match=r"another request of the policy: image_size is 16 there, 32 now; choose"):
        toy_run.run(run, models=other, episodes=2, samplers=("unsteered",))


def rolled_out() -> Episode:
    keep = Keep(decisions=True)
    with open_pool(ToyTask, 0, slots=1) as pool:
        (episode,) = run_episodes(pool, episode_keys("toy", 0, 1), Unsteered(), MODELS, "unsteered", keep)
    return episode


def test_a_replay_draws_what_the_policy_saw_and_holds_it_between_decisions() -> None:
    episode = rolled_out()
    record = record_of(episode, "toy", "unsteered", None)
    request = dataclasses.replace(MODELS.policy.request, names=("agentview_image",))
    shown = replay(ToyTask(), record, episode.actions, View("agentview", 32, 1, request))
    for step in range(record.steps + 1):
        (picture,) = shown.moment(step).observed
        decision = max(step - 1, 0) // record.execute
        np.testing.assert_array_equal(picture, episode.seen[decision]["agentview_image"])
    assert len(episode.seen) > 2


@pytest.mark.parametrize(("size", "image_size", "side"), [(256, 32, 96), (256, 84, 84), (256, 128, 96), (512, 84, 168)])
def test_pictures_of_whole_pixels_stand_below_each_column(size: int, image_size: int, side: int) -> None:
    records = [made_up_record(sampler=name) for name in ("unsteered", "other")]
    request = dataclasses.replace(SEEN, image_size=image_size)
    pictures = [np.full((image_size, image_size, 3), RED, np.uint8)] * 2
    moment = Moment(np.full((size, size, 3), GREY, np.uint8), 8, pictures)
    plain = Overlay(records, "reach", size).frame([moment] * 2)
    frame = Overlay(records, "reach", size, request).frame([moment] * 2)
    red = (frame == np.array(RED)).all(-1)
    assert red.sum() == 4 * side**2, "two pictures in each of two columns, none cut off"
    grey = (frame == GREY).all(-1)
    assert grey.sum() >= 2 * size**2, "the video's own pictures stay whole"
    assert plain.shape[1] == frame.shape[1]
    assert plain.shape[0] < frame.shape[0]
    assert not (plain == np.array(RED)).all(-1).any()


def height(path: Path) -> int:
    found: int = iio.immeta(path, plugin="FFMPEG")["size"][1]
    return found


def drawn(run: Path, name: str, **options: Any) -> list[Path]:
    return render(drawing(run, run.parent / name, episodes=(0,), **options), ToyTask).paths


def test_videos_show_them_unless_told_otherwise(run: Path) -> None:
    (shown,), (asked,), (off,) = drawn(run, "a"), drawn(run, "b", observed=True), drawn(run, "c", observed=False)
    assert height(shown) == height(asked) > height(off)
    assert shown.read_bytes() == asked.read_bytes()


def test_pictures_that_are_not_known_cannot_be_shown(run: Path, tmp_path: Path) -> None:
    toy_run.run(tmp_path / "plain", episodes=1, samplers=("unsteered",))
    with pytest.raises(RunError, match=r"saw no picture, only position; accepted: false"):
        drawn(tmp_path / "plain", "d", observed=True)
    accounts = json.loads((run / PROVENANCE).read_text())
    (run / PROVENANCE).write_text(
        json.dumps([{k: v for k, v in entry.items() if k != "request"} for entry in accounts])
    )
    with pytest.raises(RunError, match=r"does not say what its policy saw, as runs of earlier versions; accepted: f"):
        drawn(run, "e", observed=True)
    assert drawn(run, "f")
    accounts[-1]["request"]["image_size"] = 0
    (run / PROVENANCE).write_text(json.dumps(accounts))
    with pytest.raises(RunError, match=r"provenance.json: request is no request \(image_size=0"):
        drawn(run, "g")


def test_the_report_shows_them(run: Path) -> None:
    comparison = compare([run])
    page = html(comparison, run)
    assert "<q>reach the origin</q>" in page
    assert page.count('src="data:image/png;base64,') == 1
    assert "agentview_image: 16 x 16 pixels, rotated, with reflections, with multisampling" in page
    assert json.loads(summary(comparison))["tables"][0]["instructions"] == ["reach the origin"]


def test_runs_of_earlier_versions_have_no_such_section(tmp_path: Path) -> None:
    old = made_run.write(tmp_path / "old", "made", {"unsteered": [0, 1]})
    assert 'id="observed"' not in html(compare([old]), tmp_path)


def test_runs_whose_requests_differ_are_told_apart_with_a_warning(tmp_path: Path) -> None:
    for size in (16, 32):
        models = dataclasses.replace(MODELS, policy=ToyWithPictures(size=size))
        toy_run.run(tmp_path / f"run{size}", models=models, episodes=2, samplers=("unsteered",))
    comparison = compare([tmp_path / "run16", tmp_path / "run32"])
    (table,) = comparison.tables
    assert len(table.rows) == 2, "their episodes are not pooled"
    told = "toy toy: what the policy observes differs, image_size is 16 in run16; 32 in run32"
    assert told in comparison.warnings
