"""`sim-eval data`: files of OGBench's oracles, as OGBench reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim_eval.commands import data as data_command
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.training import play_data
from sim_eval.training.play_data import validation_path, write_play
from tasks.ogbench_domains import DOMAINS
from tasks.ogbench_import import load_ogbench, quiet
from tasks.ogbench_play import OraclePlay
from tasks.random_state import seeded
from tasks.task import TaskError


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of 20 steps."""
    monkeypatch.setattr(play_data, "EPISODE_STEPS", 20)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("domain", ["scene", "puzzle-3x3", "cube-double"])
def test_an_episode_follows_from_seed_and_number(domain: str) -> None:
    play, fresh = OraclePlay(DOMAINS[domain]), OraclePlay(DOMAINS[domain])
    play.episode(0, 0, 60)
    again = play.episode(0, 1, 60)
    assert same(again, fresh.episode(0, 1, 60))
    assert not same(again, fresh.episode(1, 1, 60))
    assert again["observations"].shape[0] == 61
    assert again["terminals"].tolist() == [False] * 60 + [True]
    assert ("button_states" in again) == (domain != "cube-double")


def test_an_episode_is_what_ogbenchs_oracle_plays() -> None:
    """Step by step as OGBench's script plays it, with the same random numbers."""
    with quiet():
        env = load_ogbench().make("cube-double-v0", terminate_at_goal=False, mode="data_collection")
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

    oracle, targets = CubePlanOracle(env=env, noise=0.1, noise_smoothing=0.5), 0
    seen: list[np.ndarray] = []
    with seeded(7), quiet():
        observation, info = env.reset(seed=7)
        p_stack = np.random.uniform(0.0, 0.25)  # noqa: NPY002
        oracle.reset(observation, info)
        while len(seen) < 161:
            seen.append(observation)
            observation, _, _, _, info = env.step(np.clip(oracle.select_action(observation, info), -1, 1))
            if oracle.done:
                targets += 1
                oracle.reset(*env.unwrapped.set_new_target(p_stack=p_stack))
    with seeded(7), quiet():
        rows = OraclePlay(DOMAINS["cube-double"])._played(7, 160)
    np.testing.assert_array_equal(rows["observations"], np.array(seen, np.float32))
    assert targets > 0


@pytest.mark.usefixtures("short")
def test_ogbench_reads_the_files(tmp_path: Path) -> None:
    load_ogbench()
    from ogbench import load_dataset

    output = tmp_path / "scene-play-v0.npz"
    assert write_play("scene", 50, 20, 3, output, workers=0) > 0
    read = load_dataset(output, add_info=True)
    assert {name: (values.shape, str(values.dtype)) for name, values in read.items()} == {
        "observations": ((50, 40), "float32"),
        "next_observations": ((50, 40), "float32"),
        "actions": ((50, 5), "float32"),
        "terminals": ((50,), "float32"),
        "qpos": ((50, 25), "float32"),
        "qvel": ((50, 24), "float32"),
        "button_states": ((50, 2), "int64"),
    }
    assert np.flatnonzero(read["terminals"]).tolist() == [19, 39, 49]
    assert len(load_dataset(validation_path(output))["actions"]) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene-play-v0-val.npz", "scene-play-v0.npz"]


@pytest.mark.usefixtures("short")
def test_an_interrupted_command_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, output = tmp_path / "whole.npz", tmp_path / "some.npz"
    write_play("cube-single", 60, 0, 0, whole, workers=2)
    played: list[int] = []
    episode = OraclePlay.episode

    def watched(self: Any, seed: int, number: int, steps: int) -> dict[str, np.ndarray]:
        played.append(number)
        if played == [0, 1]:
            raise KeyboardInterrupt
        return episode(self, seed, number, steps)

    monkeypatch.setattr(OraclePlay, "episode", watched)
    with pytest.raises(KeyboardInterrupt):
        write_play("cube-single", 60, 0, 0, output, workers=0)
    assert not output.exists()
    write_play("cube-single", 60, 0, 0, output, workers=0)
    assert played == [0, 1, 1, 2]
    assert same(arrays(output), arrays(whole))


def test_the_same_command_writes_the_second_file_that_an_interruption_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, join = tmp_path / "play.npz", play_data._join

    def interrupted(path: Path, episodes: Any) -> None:
        if path != output:
            raise KeyboardInterrupt
        join(path, episodes)

    def data(*more: str) -> int:
        options = ["task=ogbench", "task.env=cube-single", "steps=40", "validation=20", "workers=0", f"output={output}"]
        return data_command.run(read_command("data", [*options, *more]))

    monkeypatch.setattr(play_data, "_join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data()
    monkeypatch.undo()
    assert output.exists()
    with pytest.raises(RunError, match=r"play\.npz exists; accepted: overwrite=true or another output"):
        data("seed=1")
    assert data() == 0
    assert len(arrays(validation_path(output))["actions"]) == 21  # one row more than transitions
    with pytest.raises(RunError, match=r"play\.npz exists"):
        data()


def test_the_scenes_cube_stays_in_sight() -> None:
    from tasks.ogbench_play import _cube_stays

    inside = np.array([[0.3, 0.1, 0.02], [0.3, -0.35, 0.07]])
    assert _cube_stays(inside)
    assert not _cube_stays(np.vstack([inside, [0.3, 0.3, 0.02]]))
    assert not _cube_stays(np.vstack([inside, [0.3, -0.35, 0.02]]))


def test_domains_without_an_oracle_are_refused() -> None:
    with pytest.raises(TaskError, match=r"env is 'antmaze-large'; accepted: a domain of cubes, scene or puzzles"):
        OraclePlay(DOMAINS["antmaze-large"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task=can"], "task is can; accepted: ogbench"),
        (["task=ogbench", "task.env=antmaze-large"], "task.env is antmaze-large, for which OGBench has no oracle"),
        (["task=ogbench", "task.env=scene", "task.index=2"], "task.index is given; accepted: task.env alone"),
        (["task.env=scene", "output=file.hdf5"], "output is file.hdf5; accepted: a file that ends in .npz"),
        (["steps=0"], "steps is 0; accepted: a whole number of at least 1"),
    ],
)
def test_other_options_are_refused(arguments: list[str], told: str) -> None:
    with pytest.raises((RunError, TaskError), match=told):
        read_command("data", arguments)


def test_the_file_is_named_as_ogbenchs() -> None:
    options = read_command("data", ["task.env=cube-double", "steps=5000"])
    assert (options.output, options.validation) == (Path("data/cube-double-play-v0.npz"), 500)
