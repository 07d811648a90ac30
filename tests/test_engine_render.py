"""Rendering a run: the episodes that were asked for, exactly as recorded, in however many processes."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from sim_eval.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.runs.records import Record, Writer, actions_path, lock, read, video_path
from sim_eval.video.render import RenderSettings, check_output, render, render_missing
from tests import toy_run
from tests.toy_task import ToyTask, toy_without_torch


@pytest.fixture
def run(tmp_path: Path) -> Path:
    toy_run.run(tmp_path / "run", episodes=3)
    return tmp_path / "run"


def change(folder: Path, edit: Callable[[Record], Record]) -> None:
    Writer(folder).rewrite([edit(one) for one in read(folder)])


def draw(folder: Path, make_task: MakeTask = ToyTask, **options: Any) -> list[Path]:
    asked: dict[str, Any] = {"folder": folder, "output": folder.parent / "videos", "size": 64, **options}
    return render(RenderSettings(**asked), make_task)


def frames(path: Path) -> np.ndarray:
    found: np.ndarray = iio.imread(path, plugin="FFMPEG")
    return found


def test_every_record_has_a_video_as_long_as_its_episode(run: Path) -> None:
    paths = draw(run)
    assert [path.name for path in paths] == [
        f"toy-toy-{sampler}-{episode:04d}.mp4" for sampler in ("unsteered", "best_of_n") for episode in range(3)
    ]
    for one in read(run):
        video = video_path(run, one)
        assert video is not None
        assert len(frames(video)) == one.steps + 1 + 20, "the start, and the last frame held for a second"


def test_fewer_frames_last_as_long(run: Path) -> None:
    paths = draw(run, samplers=("unsteered",), episodes=(0,), every=3)
    (one,) = [one for one in read(run) if (one.sampler, one.episode) == ("unsteered", 0)]
    assert len(frames(paths[0])) == len({*range(0, one.steps, 3), one.steps}) + 7
    assert iio.immeta(paths[0], plugin="FFMPEG")["fps"] == pytest.approx(20 / 3, abs=0.01)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_do_not_depend_on_workers(run: Path, tmp_path: Path, workers: int) -> None:
    options: dict[str, Any] = {"side_by_side": True, "sheet": True}
    draw(run, output=tmp_path / "alone", **options)
    # Workers fail here if drawing loads torch, two seconds and 250 MB a process.
    draw(run, toy_without_torch, output=tmp_path / "beside", workers=workers, **options)
    alone, beside = (sorted((tmp_path / name).iterdir()) for name in ("alone", "beside"))
    assert [path.name for path in alone] == [path.name for path in beside]
    assert len(alone) == 4
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(alone, beside, strict=True))


def test_side_by_side_shows_both_until_the_longer_ends(run: Path) -> None:
    lengths: dict[int, list[int]] = {}
    for one in read(run):
        lengths.setdefault(one.episode, []).append(one.steps)
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
    (noted,) = {video_path(run, one) for one in read(run) if one.episode == episode and one.sampler == "best_of_n"}
    assert noted is not None
    assert noted.resolve() == path.resolve()


def test_columns_of_different_starts_are_refused(run: Path) -> None:
    def moved(one: Record) -> Record:
        return dataclasses.replace(one, state_hash="moved") if one.sampler == "best_of_n" else one

    change(run, moved)
    with pytest.raises(RunError, match="best_of_n starts episode 0 from another state than unsteered"):
        draw(run, side_by_side=True)


def test_columns_need_an_episode_of_every_sampler(run: Path) -> None:
    Writer(run).rewrite([one for one in read(run) if (one.sampler, one.episode) != ("unsteered", 1)])
    assert [path.name[-8:-4] for path in draw(run, side_by_side=True)] == ["0000", "0002"]
    with pytest.raises(RunError, match=r"1 is not recorded in .*; accepted of every sampler: 0, 2"):
        draw(run, side_by_side=True, episodes=(1,))


def test_picked_episodes_are_rendered(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shot: list[tuple[str, int]] = []

    def shoot_all(films: Any, *_: Any) -> Any:
        shot.extend((one.sampler, one.episode) for film in films for one in film.records)
        return iter(())

    def rescue(one: Record) -> Record:
        return dataclasses.replace(one, success=one.sampler == "best_of_n" or one.episode != 1)

    monkeypatch.setattr("sim_eval.video.render.shoot_all", shoot_all)
    change(run, rescue)
    draw(run, videos="rescued")
    assert shot == [("unsteered", 1), ("best_of_n", 1)]
    shot.clear()
    draw(run, videos=2, episodes=(1, 2))
    assert shot == [("unsteered", 1), ("unsteered", 2), ("best_of_n", 1), ("best_of_n", 2)]
    shot.clear()
    assert draw(run, videos="broken") == []
    assert shot == []


def test_an_animation_is_no_records_video(run: Path) -> None:
    (path,) = draw(run, samplers=("unsteered",), episodes=(0,), format="gif")
    with Image.open(path) as read_back:
        assert (read_back.format, read_back.width) == ("GIF", 64)
    assert all(one.video is None for one in read(run)), "a page's player cannot show it"


def test_long_sheets_are_split(tmp_path: Path) -> None:
    toy_run.run(tmp_path / "run", episodes=11)
    made = draw(tmp_path / "run", sheet=True, every=40)
    assert [path.name for path in made[-2:]] == ["toy-toy-sheet-1.png", "toy-toy-sheet-2.png"]
    first, second = (Image.open(path) for path in made[-2:])
    assert first.width == second.width
    assert first.height > 5 * second.height, "twenty rows, and two"


def test_files_are_not_overwritten_unasked(run: Path) -> None:
    options: dict[str, Any] = {"episodes": (0,), "samplers": ("unsteered",), "sheet": True}
    video, sheet = draw(run, **options)
    before = sheet.read_bytes()
    with pytest.raises(
        RunError, match=r"unsteered-0000\.mp4 exists already; accepted: overwrite=true or another output"
    ):
        draw(run, **options)
    video.unlink()
    with pytest.raises(RunError, match=r"sheet-1\.png exists already"):
        draw(run, **options)
    draw(run, overwrite=True, **options)
    assert sheet.read_bytes() == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_replay_that_differs_names_the_episode(run: Path, workers: int) -> None:
    path = actions_path(run, "unsteered", 1)
    np.save(path, np.zeros_like(np.load(path)))
    with pytest.raises(RunError, match="sampler=unsteered episode=1 was recorded with success="):
        draw(run, samplers=("unsteered",), workers=workers)
    done = [path.name for path in (run.parent / "videos").iterdir()]
    assert "toy-toy-unsteered-0000.mp4" in done, "what was finished before stays"
    assert "toy-toy-unsteered-0001.mp4" not in done
    assert [one.video is not None for one in read(run) if one.sampler == "unsteered"][:2] == [True, False]


def test_actions_that_are_not_the_episodes_are_told(run: Path) -> None:
    np.save(actions_path(run, "unsteered", 1), np.zeros((0, 0), np.float32))
    with pytest.raises(RunError, match=r"sampler=unsteered episode=1: .* holds actions of shape \(0, 0\), the record"):
        draw(run, samplers=("unsteered",), episodes=(1,))


def test_rendering_that_was_killed_is_finished(run: Path) -> None:
    settings = f"RenderSettings(Path({str(run)!r}), Path({str(run.parent / 'videos')!r}), size=64)"
    killed = (
        "import os; from pathlib import Path; from sim_eval.video import render\n"
        "from sim_eval.video.render import RenderSettings\n"
        "from tests.toy_task import ToyTask\n"
        "shoot_all = render.shoot_all\n"
        "def killed(*arguments):\n"
        "    films = shoot_all(*arguments)\n"
        "    yield from (next(films), next(films))\n"
        "    os.kill(os.getpid(), 9)\n"
        "render.shoot_all = killed\n"
        f"render.render_missing({settings}, ToyTask)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    assert len(list((run.parent / "videos").glob("*.mp4"))) == 2
    asked = RenderSettings(run, run.parent / "videos", size=64)
    check_output(asked, "toy", "toy", episodes=3)
    assert len(render_missing(asked, ToyTask)) == 4
    assert all((path := video_path(run, one)) is not None and path.is_file() for one in read(run))
    assert render_missing(asked, ToyTask) == []


def test_another_runs_videos_are_in_the_way(run: Path, tmp_path: Path) -> None:
    draw(run)
    toy_run.run(tmp_path / "other" / "run", episodes=3)
    other = RenderSettings(tmp_path / "other" / "run", run.parent / "videos", samplers=("unsteered",))
    with pytest.raises(RunError, match=r"unsteered-0000\.mp4 is no video of output="):
        check_output(other, "toy", "toy", episodes=3)


def test_another_start_names_the_episode(run: Path) -> None:
    change(run, lambda one: dataclasses.replace(one, env_seed=one.env_seed + 1))
    with pytest.raises(RunError, match="sampler=unsteered episode=0 starts from another state than recorded"):
        draw(run)


def test_a_run_under_way_is_left_alone(run: Path) -> None:
    with lock(run), pytest.raises(RunError, match="another process is writing"):
        draw(run)
    assert not (run.parent / "videos").exists()


def test_missing_actions_are_told_before_any_work(run: Path) -> None:
    actions_path(run, "best_of_n", 2).unlink()
    with pytest.raises(RunError, match="sampler=best_of_n episode=2: its actions cannot be read"):
        draw(run)
    assert not (run.parent / "videos").exists()


def test_a_worker_that_dies_is_told(run: Path) -> None:
    deadly = functools.partial(ToyTask, crash="kill", crash_in=(0, 1, 2))
    with pytest.raises(RunError, match="a rendering process died; workers is 2, fewer take less memory"):
        draw(run, deadly, workers=2)
