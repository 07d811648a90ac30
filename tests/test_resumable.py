"""Data files whose playing is interrupted: nothing finished is lost, and the result is that of one go."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Generator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from policies.observation import ObservationRequest
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import locked
from sim_eval.training import collect
from sim_eval.training.hdf5_file import DatasetError
from sim_eval.training.resumable import Play, play_to
from sim_eval.training.stages import run_stages
from sim_eval.training.trajectories import Trajectory, policy_of, read_hdf5
from tasks.task import EpisodeKey
from tests.toy_task import ToyTask

HERE = Path(__file__).parent
COUNT = 12


def trajectory(number: int) -> Trajectory:
    """Of episode `number`: a vector at each step, a picture and words at every second."""
    rng = np.random.default_rng(number)
    steps = 4 + 2 * number
    pictures = rng.integers(0, 255, (steps // 2, 8, 8, 3), dtype=np.uint8)
    decisions = {"agentview_image": pictures, "instruction": np.array(["go up"] * (steps // 2))}
    vectors = {"object": rng.standard_normal((steps, 3)).astype(np.float32)}
    return Trajectory(vectors, rng.uniform(-1, 1, (steps, 7)).astype(np.float32), number % 2 == 0, decisions, 2)


def playing(played: list[int], stop_at: int = COUNT) -> Play:
    """Plays pairs of episodes the later one first; a Ctrl-C comes before episode `stop_at`. Notes what is `played`."""

    def play(finished: Collection[int]) -> Generator[tuple[int, Trajectory]]:
        for number in (number ^ 1 for number in range(COUNT)):
            if number == stop_at:
                raise KeyboardInterrupt
            if number not in finished:
                played.append(number)
                yield number, trajectory(number)

    return play


def test_an_interrupted_file_is_the_same_as_one_played_in_one_go(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.hdf5", tmp_path / "resumed.hdf5"
    play_to(whole, "toy", COUNT, playing([]), {"seed": 0}, "abc")
    played: list[int] = []
    for stop_at in (2, 6):
        with pytest.raises(KeyboardInterrupt):
            play_to(resumed, "toy", COUNT, playing(played, stop_at), {"seed": 0}, "abc")
        assert not resumed.exists()
    play_to(resumed, "toy", COUNT, playing(played), {"seed": 0}, "abc")
    assert sorted(played) == list(range(COUNT)), "each is played once"
    assert resumed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed.hdf5", "whole.hdf5"]
    assert policy_of(resumed) == "abc"
    for number, read in enumerate(read_hdf5(resumed)):
        expected = trajectory(number)
        assert (read.success, read.stride) == (expected.success, 2)
        np.testing.assert_array_equal(read.actions, expected.actions)
        np.testing.assert_array_equal(read.observations["object"], expected.observations["object"])
        for name, values in expected.decisions.items():
            np.testing.assert_array_equal(np.asarray(read.decisions[name]), values)


def test_a_damaged_episode_is_named(tmp_path: Path) -> None:
    path, origin = tmp_path / "demos.hdf5", {"seed": 0}
    with pytest.raises(KeyboardInterrupt):
        play_to(path, "toy", COUNT, playing([], 6), origin)
    finished = tmp_path / "demos.unfinished" / "00003.hdf5"
    finished.write_bytes(finished.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"00003\.hdf5"):
        play_to(path, "toy", COUNT, playing([]), origin)
    finished.unlink()
    play_to(path, "toy", COUNT, playing([]), origin)
    assert len(read_hdf5(path)) == COUNT


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HDF5 library itself would crash."""
    path, origin, played = tmp_path / "demos.hdf5", {"seed": 0}, list[int]()

    def full(*unused: int) -> None:
        if len(played) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(RunError, match=r"^cannot write .*0000.\.hdf5: No space left on device$"):
            play_to(path, "toy", COUNT, playing(played), origin)
    del played[4:]
    play_to(path, "toy", COUNT, playing(played), origin)
    assert sorted(played) == list(range(COUNT)), "each that was written is played once"


def test_what_was_played_otherwise_is_played_again(tmp_path: Path) -> None:
    path = tmp_path / "demos.hdf5"
    with pytest.raises(KeyboardInterrupt):
        play_to(path, "toy", COUNT, playing([], stop_at=6), {"seed": 0})
    played: list[int] = []
    play_to(path, "toy", COUNT, playing(played), {"seed": 1})
    assert len(played) == COUNT


def test_fewer_episodes_than_are_there_are_the_first_ones(tmp_path: Path) -> None:
    path = tmp_path / "demos.hdf5"
    with pytest.raises(KeyboardInterrupt):
        play_to(path, "toy", COUNT, playing([], stop_at=10), {})
    play_to(path, "toy", 3, playing([]), {})
    assert [len(read.actions) for read in read_hdf5(path)] == [4, 6, 8]


def test_two_commands_do_not_play_to_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "demos.unfinished"
    folder.mkdir()
    with locked(folder / "lock"), pytest.raises(RunError, match=r"demos\.unfinished is in use by another command"):
        play_to(tmp_path / "demos.hdf5", "toy", COUNT, playing([]), {})


class NotedTask(ToyTask):
    """It notes which episodes are played."""

    started: ClassVar[list[int]] = []

    def reset(self, key: EpisodeKey) -> None:
        self.started.append(key.episode)
        super().reset(key)


def roll_out(folder: Path, make_task: Callable[[], ToyTask]) -> Path:
    """Where the rollouts of the toy policy in `make_task` are."""
    models = [f"policy={HERE}/toy_models.py:ToyDenoiser", f"data={folder}", f"checkpoints={folder}"]
    settings = read_command("train", [f"task={HERE}/toy_task.py:ToyTask", *models, "rollouts=24"])
    run_stages(["rollouts"], replace(settings.workspace(), make_task=make_task), settings.recipe(), workers=0)
    return settings.workspace().rollouts(settings.recipe().policies[0].label)


def test_rollouts_go_on_after_a_crashed_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = roll_out(tmp_path / "whole", ToyTask)
    with pytest.raises(RunError, match=r"task toy_task, episode 18: .*the toy broke"):
        roll_out(tmp_path / "resumed", lambda: ToyTask(crash="step", crash_in=(18,)))
    folder = tmp_path / "resumed" / "toy_task"
    kept = {int(file.stem) for file in folder.glob("*.unfinished/*.hdf5")}
    assert len(kept) > 8
    assert not list(folder.glob("*.hdf5"))
    (origin,) = folder.glob("*.unfinished/origin.json")
    assert json.loads(origin.read_text())["task"]["name"] == "toy_task"
    resumed = roll_out(tmp_path / "resumed", NotedTask)
    assert sorted(NotedTask.started) == sorted(set(range(24)) - kept)
    assert resumed.read_bytes() == whole.read_bytes()
    assert f"holds {len(kept)} finished episodes, which are kept" in capsys.readouterr().out


def test_demonstrations_go_on_where_they_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def demonstrate(task: object, key: EpisodeKey, **_: object) -> Trajectory | None:
        """Every third attempt fails."""
        started.append(key.episode)
        return trajectory(key.episode) if key.episode % 3 else None

    monkeypatch.setattr(collect, "_demonstrate_with_pictures", demonstrate)
    monkeypatch.setattr(collect, "_demonstrate", demonstrate)
    request = ObservationRequest(("object",))

    def numbers(finished: Collection[int], count: int) -> list[int]:
        played = collect.demonstrations_with_pictures(
            finished, "lift", ToyTask, request, count, "recovering", seed=0, workers=0
        )
        return [number for number, _ in played]

    assert numbers([], 5) == [1, 2, 4, 5, 7]
    started.clear()
    assert numbers([1, 2, 4], 5) == [5, 7]
    assert started == [5, 6, 7]
    assert numbers([1, 2, 4, 5, 7], 5) == numbers([1, 2, 4, 5, 7], 4) == []
    played = collect.demonstrations([0, 1, 2], "lift", ToyTask, 5, sloppy=0.0, seed=0, workers=0)
    assert [number for number, _ in played] == [3, 4]
