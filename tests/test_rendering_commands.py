"""Videos from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim_eval.runs.records import read
from tests.commands import QUICK, Call


def test_rendering_shows_the_recorded_episodes(evaluated: Call) -> None:
    status, out, _ = evaluated("render", "run", "episodes=[0,2]", "samplers=[best_of_n]", "size=64", "workers=0")
    assert status == 0
    videos = [f"videos/run/can-flow-best_of_n-000{episode}.mp4" for episode in (0, 2)]
    assert out.splitlines() == [*videos, "run/report.html"]
    assert all(Path(path).is_file() for path in videos)
    assert "can-flow-best_of_n-0002.mp4" in Path("run/report.html").read_text(), "the report has been made again"
    status, out, _ = evaluated("render", "run", "episodes=[0,1]", "samplers=[best_of_n]", "size=64", "workers=0")
    assert (status, out.splitlines()[:2]) == (
        0,
        [
            "videos/run/can-flow-best_of_n-0001.mp4",
            "videos kept, as they exist already: 1 (overwrite=true draws them again)",
        ],
    )


def test_an_episode_that_cannot_be_rendered_is_told_and_the_others_are(evaluated: Call) -> None:
    Path("run/actions/best_of_n/0001.npy").unlink()
    status, out, err = evaluated("render", "run", "samplers=[best_of_n]", "size=64", "workers=0")
    assert (status, len(out.splitlines())) == (1, 3)
    assert err.startswith("skipped: sampler=best_of_n episode=1: its actions cannot be read from run/actions/")


def test_a_video_that_is_skipped_is_no_success(call: Call) -> None:
    call("evaluate", *QUICK, "output=run")
    Path("run/actions/best_of_n/0001.npy").unlink()
    status, _, err = call("evaluate", *QUICK, "output=run", "videos=all")
    assert (status, "skipped: sampler=best_of_n episode=1" in err) == (1, True)
    assert len(list(Path("videos/run").iterdir())) == 5, "the others are made"


def test_worker_processes_are_the_default(evaluated: Call) -> None:
    status, out, err = evaluated("render", "run", "episodes=[0]", "samplers=[unsteered]", "size=64")
    assert (status, err) == (0, ""), "silent progress where there is no terminal"
    assert all(Path(path).is_file() for path in out.splitlines())


def test_videos_of_a_run(call: Call) -> None:
    assert call("evaluate", *QUICK, "output=run", "videos=1")[0] == 0
    names = ["can-flow-best_of_n-0000.mp4", "can-flow-unsteered-0000.mp4"]
    assert sorted(path.name for path in Path("videos/run").iterdir()) == names
    assert call("evaluate", *QUICK, "output=run", "videos=1")[0] == 0, "videos that exist are not drawn again"
    assert call("evaluate", *QUICK, "output=run", "videos=all")[0] == 0
    assert len(list(Path("videos/run").iterdir())) == 6


def test_videos_that_compare_need_something_to_compare(call: Call) -> None:
    status, _, err = call("evaluate", "samplers=[best_of_n]", "videos=rescued", "output=run")
    assert (status, "videos is rescued, which compares samplers with unsteered" in err) == (2, True)
    assert not Path("run").exists()


def test_nothing_to_render_is_told(evaluated: Call) -> None:
    outcomes = {(record.sampler, record.success) for record in read(Path("run"))}
    assert outcomes == {("unsteered", True), ("best_of_n", True)}
    status, out, _ = evaluated("render", "run", "videos=broken")
    assert (status, out) == (0, "nothing to render: videos is broken, and no episode in run is\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["episodes=[7]"], "episodes: 7 is not recorded in run; accepted: 0, 1, 2"),
        (["episodes=[]"], "episodes is []; accepted: a list with at least one entry, such as [a,b]"),
        (["samplers=[qpilots_u]"], "samplers: qpilots_u is not recorded in run; accepted: unsteered, best_of_n"),
        (["size=63"], "size is 63; accepted: an even number of pixels"),
        (["format=avi"], "format is avi; accepted: mp4, gif"),
        (["videos=saved"], "videos is saved; accepted: rescued, broken, all or a whole number"),
        (["workers=-1"], "workers is -1; accepted: a whole number of at least 0"),
        (["side_by_side=2"], "side_by_side is 2; accepted: true or false"),
        (
            ["side_by_side=true", "samplers=[unsteered]"],
            "side_by_side=true needs two samplers or more, there is unsteer",
        ),
        (["sheets=true"], "unknown option sheets; accepted: "),
    ],
)
def test_bad_render_options(evaluated: Call, arguments: list[str], told: str) -> None:
    status, _, err = evaluated("render", "run", *arguments)
    assert (status, told in err, err.count("\n")) == (2, True, 1), err
    assert not Path("videos").exists()


def test_what_is_no_run_is_not_rendered(call: Call) -> None:
    assert "not a run folder" in call("render", ".")[2]
