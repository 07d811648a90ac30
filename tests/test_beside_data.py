"""A critic that learns from recorded data first: what it learns does not depend on interruptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import sha256
from sim_eval.models.checkpoints import is_whole
from sim_eval.training import beside_data
from sim_eval.training.online import learn
from sim_eval.training.online_folder import LearnerState, LearnFolder
from sim_eval.training.trajectories import StepRewards, Trajectory, read_hdf5, write_hdf5
from tests.test_learning_overlap import until_it_has_ended

HERE = Path(__file__).parent


def write_walks(path: Path) -> None:
    """Random walks of 20 steps, cut by a time limit; those that pass the origin are rewarded there."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(8):
        actions = rng.uniform(-1, 1, (20, 2)).astype(np.float32)
        position = rng.uniform(-1, 1, 2) + 0.1 * np.cumsum(actions, axis=0)
        near = np.linalg.norm(position, axis=1) < 0.2
        seen = {"position": position, "goal": np.zeros((20, 2)), "time": np.arange(20.0)[:, None]}
        rewards = StepRewards(near.astype(np.float32) - 1, 1 - near.astype(np.float32))
        vectors = {name: values.astype(np.float32) for name, values in seen.items()}
        episodes.append(Trajectory(vectors, actions, bool(near.any()), rewards=rewards))
    write_hdf5(path, episodes, "toy_task")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "walks.hdf5"
    write_walks(path)
    return path


def learned(data: Path, output: Path, *changes: str) -> tuple[list[dict], str]:
    """The curve, and the hash of the critic's weights."""
    options = [
        f"task={HERE}/toy_task.py:CostlyToy", f"policy={HERE}/toy_models.py:ToyDenoiser", "samplers=[best_of_n]",
        f"data={data}", "method=td", "offline=30", "updates=20", "steps=20", "round=2", "evaluate=1000", "episodes=2",
        "rows=16", "heads=2", "width=16", "depth=1", "draws=2", "workers=0", f"output={output}",
    ]  # fmt: skip
    learn(read_command("learn", [*options, *changes]))
    return json.loads((output / "curve.json").read_text()), sha256(output / "critic.safetensors")


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[list[dict], str]]:
    output = tmp_path_factory.mktemp("learned") / "run"
    return output, learned(data, output)


def test_it_evaluates_after_the_data_and_after_the_episodes(
    reference: tuple[Path, tuple[list[dict], str]],
) -> None:
    output, (curve, _) = reference
    assert [point["steps"] == 0 for point in curve] == [True, False]
    assert curve[-1]["steps"] >= 20
    card = json.loads((output / "critic.json").read_text())
    config = card["config"]
    assert (config["low"], config["high"]) == pytest.approx((-100.0, 0.0))
    assert (config["heads"], config["width"], config["depth"]) == (2, 16, 1)
    assert is_whole(output, "critic", "critic", card["task"])
    assert (config["horizon"], config["execute"]) == (4, 3)


def test_its_episodes_are_kept_with_their_rewards(reference: tuple[Path, tuple[list[dict], str]]) -> None:
    episodes = read_hdf5(reference[0] / "replay" / "00001.hdf5")
    for episode in episodes:
        assert episode.rewards is not None
        assert len(episode.rewards.rewards) == len(episode.actions)
        assert episode.rewards.masks[-1] == (not episode.success)  # else the time limit
        assert (episode.rewards.masks[:-1] == 1).all()
        assert episode.rewards.rewards[0] == -1


@pytest.mark.parametrize("writes", [1, 2, 3, 5])
def test_an_interrupted_run_goes_on_to_the_same_result(
    writes: int,
    data: Path,
    tmp_path: Path,
    reference: tuple[Path, tuple[list[dict], str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the midst of a fit too: states are written after every 10 updates here."""
    monkeypatch.setattr(beside_data, "SAVE_EVERY", 10)
    left, write = iter(range(writes)), LearnFolder.write_state

    def interrupted(folder: LearnFolder, state: LearnerState) -> None:
        write(folder, state)
        if next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(LearnFolder, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learned(data, tmp_path)
    monkeypatch.setattr(LearnFolder, "write_state", write)
    assert (tmp_path / "state.pt").is_file()
    assert learned(data, tmp_path) == reference[1]


@pytest.mark.parametrize("bootstrap", ["best", "steered"])
def test_it_learns_while_it_plays_and_goes_on_to_the_same_result(
    bootstrap: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended after every file that it writes, in the midst of fits too."""
    changes = ("overlap=true", "steps=40", "updates=25", f"bootstrap={bootstrap}")
    monkeypatch.setattr(beside_data, "SAVE_EVERY", 10)
    whole = learned(data, tmp_path / "whole", *changes)
    found: list[Any] = []
    ends = until_it_has_ended(monkeypatch, lambda: found.append(learned(data, tmp_path / "cut", *changes)))
    assert ends > 5
    assert found == [whole]


def test_what_targets_value_matters(data: Path, tmp_path: Path, reference: tuple[Path, tuple[list[dict], str]]) -> None:
    changes = {
        "steered": ["bootstrap=steered"],
        "policy": ["bootstrap=policy"],
        "sarsa": ["method=sarsa"],
        "pessimistic": ["backup_pessimism=1"],
        "discount": ["discount=0.9"],
        "everywhere": ["actions_everywhere=true"],
    }
    hashes = {name: learned(data, tmp_path / name, "steps=0", *given)[1] for name, given in changes.items()}
    assert len({*hashes.values(), reference[1][1]}) == len(changes) + 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["method=outcome"], "method is outcome, and data is given; accepted with it: "),
        (
            ["data=[]", "method=outcome", "actions_everywhere=true"],
            "actions_everywhere is true, and method is outcome, whose V reads states; accepted: another method",
        ),
        (["data=[]"], "method is td, and data is empty; accepted: data=FILE, or "),
        (["data=there.hdf5"], "data names there.hdf5; accepted: files of play, .npz, or of episodes, .hdf5"),
        (["discount=1"], "discount is 1.0, and the task has rewards of its own; accepted: below 1"),
    ],
)
def test_refusals(changes: list[str], told: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"^{told}"):
        learned(data, tmp_path, *changes)


def test_files_with_rewards_are_read_as_they_were_written(data: Path) -> None:
    first = read_hdf5(data)[0]
    assert first.rewards is not None
    assert first.success == (not first.rewards.masks.all())
    assert torch.from_numpy(first.rewards.rewards).le(0).all()
