"""Rendering a run: the episodes that were asked for, exactly as recorded, in however many processes."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from benchmarks import made_run
from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.runs.reader import read_run
from sim_eval.runs.records import Record, actions_path, read
from sim_eval.runs.run_folder import lock
from sim_eval.video import render as rendering
from sim_eval.video.render import Rendered, check_output, check_rendering, render
from tests import toy_run
from tests.drawing import drawing
from tests.toy_task import ToyTask, toy_without_torch


@pytest.fixture
def run(tmp_path: Path) -> Path:
    toy_run.run(tmp_path / "run", episodes=3)
    return tmp_path / "run"


def change(folder: Path, edit: Callable[[Record], Record]) -> None:
    made_run.rewrite(folder, [edit(record) for record in read(folder)])


def rendered(folder: Path, make_task: MakeTask = ToyTask, **options: Any) -> Rendered:
    return render(drawing(**{"folder": folder, "output": folder.parent / "videos", **options}), make_task)


def draw(folder: Path, make_task: MakeTask = ToyTask, **options: Any) -> list[Path]:
    return rendered(folder, make_task, **options).paths


def frames(path: Path) -> np.ndarray:
    found: np.ndarray = iio.imread(path, plugin="FFMPEG")
    return found


def test_every_record_has_a_video_as_long_as_its_episode(run: Path) -> None:
    paths = draw(run)
    assert [path.name for path in paths] == [
        f"toy-toy-{sampler}-{episode:04d}.mp4" for sampler in ("unsteered", "best_of_n") for episode in range(3)
    ]
    found = read_run(run)
    for record in found.records:
        video = found.video(record)
        assert video is not None
        assert len(frames(video)) == record.steps + 1 + 20, "the start, and the last frame held for a second"


def test_fewer_frames_last_as_long(run: Path) -> None:
    paths = draw(run, samplers=("unsteered",), episodes=(0,), every=3)
    (record,) = [record for record in read(run) if (record.sampler, record.episode) == ("unsteered", 0)]
    assert len(frames(paths[0])) == len({*range(0, record.steps, 3), record.steps}) + 7
    assert iio.immeta(paths[0], plugin="FFMPEG")["fps"] == pytest.approx(20 / 3, abs=0.01)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_do_not_depend_on_workers(run: Path, tmp_path: Path, workers: int) -> None:
    options: dict[str, Any] = {"side_by_side": True, "sheet": True}
    draw(run, output=tmp_path / "alone", **options)
    # Workers fail here if drawing loads torch, two seconds and 250 MB a process, or if software GL may take all cores.
    draw(run, toy_without_torch, output=tmp_path / "beside", workers=workers, **options)
    alone, beside = (sorted((tmp_path / name).iterdir()) for name in ("alone", "beside"))
    assert [path.name for path in alone] == [path.name for path in beside]
    assert len(alone) == 4
    assert all(first.read_bytes() == second.read_bytes() for first, second in zip(alone, beside, strict=True))


def test_side_by_side_shows_both_until_the_longer_ends(run: Path) -> None:
    lengths: dict[int, list[int]] = {}
    for record in read(run):
        lengths.setdefault(record.episode, []).append(record.steps)
    (episode, steps) = next((episode, steps) for episode, steps in lengths.items() if steps[0] != steps[1])
    (path,) = draw(run, side_by_side=True, episodes=(episode,), samplers=("best_of_n", "unsteered"))
    assert path.name == f"toy-toy-best_of_n-vs-unsteered-{episode:04d}.mp4"
    shown = frames(path)
    (single,) = draw(run, samplers=("unsteered",), episodes=(episode,))
    assert len(shown) == max(steps) + 1 + 20
    assert shown.shape[2] > 2 * 64
    right = shown.shape[2] - 64
    picture = slice(shown.shape[1] // 2, shown.shape[1] // 2 + 10)
    own = frames(single)
    middle = slice(own.shape[1] // 2, own.shape[1] // 2 + 10)
    assert np.abs(shown[5, picture, right:].mean() - own[5, middle].mean()) < 12
    assert read_run(run).videos["best_of_n", episode] == path.resolve()
    assert read_run(run).videos["unsteered", episode] == single.resolve(), "the latest"


def test_columns_of_different_starts_are_refused(run: Path) -> None:
    def moved(record: Record) -> Record:
        return dataclasses.replace(record, state_hash="moved") if record.sampler == "best_of_n" else record

    change(run, moved)
    with pytest.raises(RunError, match="best_of_n of toy starts episode 0 from another state than unsteered"):
        draw(run, side_by_side=True)


def test_columns_need_an_episode_of_every_sampler(run: Path) -> None:
    made_run.rewrite(run, [record for record in read(run) if (record.sampler, record.episode) != ("unsteered", 1)])
    assert [path.name[-8:-4] for path in draw(run, side_by_side=True)] == ["0000", "0002"]
    with pytest.raises(RunError, match=r"1 is not recorded in .*; accepted of every sampler: 0, 2"):
        draw(run, side_by_side=True, episodes=(1,))


def test_another_policys_episodes_stand_beside(run: Path, tmp_path: Path) -> None:
    toy_run.run(tmp_path / "other", episodes=2, policy=Component("strong"), samplers=("unsteered",))
    paths = draw(run, beside=tmp_path / "other", samplers=("unsteered",))
    assert [path.name for path in paths] == [
        f"toy-toy-unsteered-vs-strong-unsteered-{episode:04d}.mp4" for episode in range(2)
    ]
    assert frames(paths[0]).shape[2] > 2 * 64
    assert read_run(run).videos["unsteered", 1] == paths[1].resolve()
    assert not read_run(tmp_path / "other").videos


def test_a_run_beside_has_the_same_starts(run: Path, tmp_path: Path) -> None:
    toy_run.run(tmp_path / "other", episodes=2, policy=Component("strong"))
    change(tmp_path / "other", lambda record: dataclasses.replace(record, state_hash="moved"))
    with pytest.raises(RunError, match="unsteered of strong starts episode 0 from another state than unsteered of toy"):
        draw(run, beside=tmp_path / "other")
    with pytest.raises(RunError, match="other, which has none of the chosen episodes of "):
        draw(run, beside=tmp_path / "other", episodes=(2,))


def test_picked_episodes_are_rendered(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, int]] = []

    def work_through(videos: Any, *_: Any) -> Any:
        records = (column.record for video in videos for column in video.columns)
        drawn.extend((record.sampler, record.episode) for record in records)
        return ([] for _ in videos)

    def rescue(record: Record) -> Record:
        return dataclasses.replace(record, success=record.sampler == "best_of_n" or record.episode != 1)

    monkeypatch.setattr(rendering, "work_through", work_through)
    change(run, rescue)
    draw(run, videos="rescued")
    assert drawn == [("unsteered", 1), ("best_of_n", 1)]
    drawn.clear()
    draw(run, videos=2, episodes=(1, 2))
    assert drawn == [("unsteered", 1), ("unsteered", 2), ("best_of_n", 1), ("best_of_n", 2)]
    drawn.clear()
    assert draw(run, videos="broken") == []
    assert drawn == []


def test_an_animation_is_no_records_video(run: Path) -> None:
    (path,) = draw(run, samplers=("unsteered",), episodes=(0,), format="gif")
    with Image.open(path) as read_back:
        assert (read_back.format, read_back.width) == ("GIF", 64)
    assert not read_run(run).videos, "a page's player cannot show it"


def test_long_sheets_are_split(tmp_path: Path) -> None:
    toy_run.run(tmp_path / "run", episodes=11)
    made = draw(tmp_path / "run", sheet=True, every=40)
    assert [path.name for path in made[-2:]] == ["toy-toy-sheet-1.png", "toy-toy-sheet-2.png"]
    first, second = (Image.open(path) for path in made[-2:])
    assert first.width == second.width
    assert first.height > 5 * second.height, "twenty rows, and two"


def test_only_what_is_missing_is_drawn(run: Path) -> None:
    options: dict[str, Any] = {"samplers": ("unsteered",), "sheet": True}
    first, second, sheet = draw(run, episodes=(0, 1), **options)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (first, second, sheet)}
    assert rendered(run, episodes=(0, 1), **options) == Rendered([], kept=2)
    second.unlink()
    assert rendered(run, episodes=(0, 1), **options) == Rendered([second], kept=1, listed=True)
    sheet.unlink()
    assert rendered(run, episodes=(0, 1), **options) == Rendered([sheet], kept=2, listed=True)
    assert {path: path.read_bytes() for path in before} == {path: content for path, (content, _) in before.items()}
    assert first.stat().st_mtime_ns == before[first][1]
    assert [path.name[-8:] for path in draw(run, **options)] == ["0002.mp4", "et-1.png"], "a row more on the sheet"
    assert len(draw(run, overwrite=True, **options)) == 4
    assert first.stat().st_mtime_ns != before[first][1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_episode_that_cannot_be_replayed_is_skipped(
    run: Path, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    changed = actions_path(run, "unsteered", 1)
    np.save(changed, np.zeros_like(np.load(changed)))
    actions_path(run, "best_of_n", 0).unlink()
    np.save(actions_path(run, "best_of_n", 2), np.zeros((0, 0), np.float32))
    found = rendered(run, workers=workers, sheet=True)
    assert [path.name[8:-4] for path in found.paths] == [
        "unsteered-0000",
        "unsteered-0002",
        "best_of_n-0001",
        "sheet-1",
    ]
    assert found.skipped == 3
    told = capfd.readouterr().err
    assert "skipped: sampler=unsteered episode=1 was recorded with success=" in told
    assert "skipped: sampler=best_of_n episode=0: its actions cannot be read from" in told
    assert "skipped: sampler=best_of_n episode=2: " in told
    assert "holds float32 of shape (0, 0); accepted: finite float32 of shape" in told
    assert set(read_run(run).videos) == {("unsteered", 0), ("unsteered", 2), ("best_of_n", 1)}


def test_records_are_left_as_they_are(run: Path) -> None:
    before = (run / "records.jsonl").read_bytes()
    draw(run, episodes=(0,))
    assert (run / "records.jsonl").read_bytes() == before


def test_rendering_that_was_killed_is_finished(run: Path) -> None:
    settings = f"drawing(Path({str(run)!r}), Path({str(run.parent / 'videos')!r}))"
    killed = (
        "import os; from pathlib import Path; from sim_eval.video import render\n"
        "from tests.drawing import drawing\n"
        "from tests.toy_task import ToyTask\n"
        "work_through = render.work_through\n"
        "def killed(*arguments):\n"
        "    made = work_through(*arguments)\n"
        "    yield from (next(made), next(made))\n"
        "    os.kill(os.getpid(), 9)\n"
        "render.work_through = killed\n"
        f"render.render({settings}, ToyTask)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    assert len(list((run.parent / "videos").glob("*.mp4"))) == 2
    check_output(drawing(run, run.parent / "videos"), "toy", "toy", episodes=3)
    assert len(draw(run)) == 4
    found = read_run(run)
    assert all((path := found.video(record)) is not None and path.is_file() for record in found.records)


def test_another_runs_videos_are_in_the_way(run: Path, tmp_path: Path) -> None:
    draw(run)
    toy_run.run(tmp_path / "other" / "run", episodes=3)
    other = drawing(tmp_path / "other" / "run", run.parent / "videos", samplers=("unsteered",))
    with pytest.raises(RunError, match=r"unsteered-0000\.mp4 exists and is no file of the run .*overwrite=true or"):
        check_output(other, "toy", "toy", episodes=3)
    with pytest.raises(RunError, match=r"unsteered-0000\.mp4 exists and is no file of the run"):
        render(other, ToyTask)


def test_a_run_that_cannot_be_written_is_rendered_elsewhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / ".videos.lock").mkdir()  # root may write into any folder
    found = rendered(run, episodes=(0,))
    assert (len(found.paths), found.listed) == (2, False)
    assert "will not show these videos: cannot write" in capsys.readouterr().err


def test_videos_of_version_1_records_are_known(run: Path) -> None:
    (path,) = draw(run, samplers=("unsteered",), episodes=(0,))
    (run / "videos.json").unlink()
    note = {"video": "../videos/" + path.name}
    noted = [dataclasses.replace(record, extra=note if record.episode == 0 else {}) for record in read(run)]
    made_run.rewrite(run, noted)
    assert read_run(run).videos["unsteered", 0] == path.resolve()
    assert rendered(run, samplers=("unsteered",)).kept == 1


def test_a_moved_run_keeps_its_videos(run: Path, tmp_path: Path) -> None:
    (path,) = draw(run, samplers=("unsteered",), episodes=(0,))
    alone = shutil.copytree(run, tmp_path / "archive" / "deep" / "run")
    assert read_run(alone).videos["unsteered", 0] == path.resolve(), "the run alone was moved"
    shutil.copytree(path.parent, tmp_path / "archive" / "deep" / path.parent.name)
    both = tmp_path / "archive" / "deep" / path.parent.name / path.name
    assert read_run(alone).videos["unsteered", 0] == both.resolve(), "both were moved"


def test_a_damaged_index_is_named(run: Path) -> None:
    (run / "videos.json").write_text("{")
    with pytest.raises(RunError, match=r"videos\.json is not JSON"):
        draw(run)
    (run / "videos.json").write_text('[{"file": 3, "shows": []}]')
    with pytest.raises(RunError, match=r"videos\.json entry 1: file is 3; accepted: text"):
        draw(run)
    (run / "videos.json").write_text('[{"file": "a.mp4", "shows": [], "absolute": 3}]')
    with pytest.raises(RunError, match=r"videos\.json entry 1: absolute is 3; accepted: text"):
        draw(run)


def test_a_missing_ffmpeg_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(RunError, match=r"videos need ffmpeg, which cannot be run \(.*/nowhere/ffmpeg"):
        check_rendering(ToyTask, "toy")


def test_another_start_names_the_episode(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, lambda record: dataclasses.replace(record, state_hash="moved"))
    assert rendered(run).skipped == 6
    assert "sampler=unsteered episode=0 starts from another state than recorded" in capsys.readouterr().err


def test_a_run_under_way_may_be_rendered(run: Path) -> None:
    with lock(run):
        assert len(draw(run)) == 6


def test_a_worker_that_dies_is_told(run: Path) -> None:
    deadly = functools.partial(ToyTask, crash="kill", crash_in=(0, 1, 2))
    with pytest.raises(RunError, match="a worker process died; workers is 2, fewer take less memory"):
        draw(run, deadly, workers=2)
