"""OGBench's play files: episodes and rewards of a task, and a policy that all tasks of a domain share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim_eval.commands.cli import read_command, run
from sim_eval.config.options import Choice
from sim_eval.config.tasks import task_of
from sim_eval.foundation.errors import RunError
from sim_eval.models.checkpoints import load_policy
from sim_eval.models.store import own_policies
from sim_eval.training.hdf5_file import DatasetError
from sim_eval.training.play_files import read_play
from tasks.ogbench_import import build_environment, quiet

PUZZLE = task_of(Choice("ogbench", {"env": "puzzle-3x3", "index": 2}))


def play(path: Path, **changes: np.ndarray) -> Path:
    """Two episodes of 3 and 2 transitions in OGBench's layout; in the last rows but one the puzzle is solved."""
    env = build_environment("puzzle-3x3", 2)
    with quiet():
        env.reset()
    goal = np.asarray(env._target_button_states)
    env.close()
    buttons = np.tile(1 - goal, (7, 1))
    buttons[[2, 5]] = goal
    rng = np.random.default_rng(0)
    arrays = {
        "observations": rng.standard_normal((7, 6)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (7, 5)).astype(np.float32),
        "terminals": np.array([0, 0, 0, 1, 0, 0, 1], bool),
        "qpos": np.zeros((7, 23), np.float32),
        "button_states": buttons,
    }
    kept: dict[str, Any] = {name: values for name, values in {**arrays, **changes}.items() if values.size}
    np.savez(path, **kept)
    return path


def test_an_episodes_last_row_leads_nowhere(tmp_path: Path) -> None:
    first, second = read_play(play(tmp_path / "play.npz"), PUZZLE)
    assert (len(first.actions), len(second.actions)) == (3, 2)
    assert first.rewards is not None
    assert first.rewards.rewards.tolist() == [-9, -9, 0]
    assert first.rewards.masks.tolist() == [1, 1, 0]
    assert first.success
    sparse = task_of(Choice("ogbench", {"env": "puzzle-3x3", "index": 2, "sparse": True}))
    rewards = read_play(tmp_path / "play.npz", sparse)[0].rewards
    assert rewards is not None
    assert rewards.rewards.tolist() == [-1, -1, 0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"qpos": np.zeros(0)}, "lacks qpos; OGBench's layout is observations, actions, terminals, qpos"),
        ({"terminals": np.zeros(7, bool)}, "terminals does not end each episode"),
        ({"actions": np.full((7, 5), 2.0)}, "actions has entries up to 2; accepted: -1 to 1"),
        ({"observations": np.full((7, 6), np.nan)}, "observations holds NaN or infinity"),
        ({"actions": np.zeros((6, 5))}, "actions has the shape"),
        ({"button_states": np.zeros((7, 4))}, "does not fit the domain puzzle-3x3"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        read_play(play(tmp_path / "play.npz", **changes), PUZZLE)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "play.npz", np.random.default_rng(0).standard_normal((500, 6))
    np.savez_compressed(path, observations=values, actions=np.zeros((500, 5)), terminals=np.arange(500) == 499)
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(range(100))
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"play\.npz: not a readable NPZ file"):
        read_play(path)


def test_a_policy_that_is_cloned_from_play_serves_every_task_of_its_domain(tmp_path: Path) -> None:
    data, root = play(tmp_path / "play.npz"), tmp_path / "checkpoints"
    cloning = ["train", "task=ogbench", "task.env=puzzle-3x3", f"data={data}", f"checkpoints={root}"]
    assert run([*cloning, "stage=policy", "policy_steps=20", "batch=8", "width=16", "depth=1"]) == 0
    for index in (1, 4):
        policy = load_policy(f"ogbench_puzzle-3x3_{index}", "flow", root)
        assert (policy.horizon, policy.execute, policy.action_dim) == (5, 5, 5)
        assert own_policies(root, f"ogbench_puzzle-3x3_{index}") == ["flow"]
    asked = ["task=ogbench", "task.env=puzzle-3x3", "task.index=3", f"checkpoints={root}", "critic=none"]
    assert read_command("evaluate", [*asked, "samplers=unsteered"]).policy.label == "flow"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["task=ogbench", "stage=policy"], "has no scripted expert; accepted: stage=policy data=FILE.npz"),
        (
            ["task=ogbench", "stage=rollouts", "data=play.npz"],
            "accepted for task ogbench_cube-single_1, stage rollouts",
        ),
        (["task=can", "stage=policy", "data=play.npz"], "accepted for task can, stage policy: a folder"),
        (["task=ogbench", "stage=policy", "data=play.npz"], "data names play.npz, which is no file"),
    ],
)
def test_refusals(options: list[str], told: str) -> None:
    with pytest.raises(RunError, match=told):
        read_command("train", options)
