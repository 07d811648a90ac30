"""Several tasks that learn at once: from the same data, draws and episodes, each its own critic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import sha256
from sim_eval.models.checkpoints import is_whole
from sim_eval.training import beside_data, play_files
from sim_eval.training.online import learn
from sim_eval.training.online_folder import LearnerState, LearnFolder, SharedFolder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.play_files import TaskRewards
from sim_eval.training.together import learn_together
from sim_eval.training.together_options import LearnTogether, read_learning
from sim_eval.training.trajectories import read_hdf5
from tests.toy_domain import ToyRelabeller, write_play

HERE = Path(__file__).parent
NAMES = ("toy_domain.First", "toy_domain.Second")
#: Of a task: the hashes of its weights and of its curve.
Learned = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "play.npz"
    write_play(path)
    return path


@pytest.fixture(autouse=True, scope="module")
def _toys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play_files, "Relabeller", ToyRelabeller)
        yield


def options(data: Path, number: int, output: Path, *changes: str) -> LearnOptions:
    given = [
        f"task={HERE}/toy_domain.py:{('First', 'Second')[number - 1]}", "task.env=toys", f"task.index={number}",
        f"policy={HERE}/toy_domain.py:Walker", "samplers=[best_of_n]", f"data={data}", "method=td", "offline=30",
        "updates=20", "steps=20", "round=2", "evaluate=1000", "episodes=2", "rows=16", "heads=2", "width=16", "depth=1",
        "draws=2", "workers=0", f"output={output}",
    ]  # fmt: skip
    found = read_command("learn", [*given, *changes])
    assert isinstance(found, LearnOptions)
    return found


def learned(data: Path, output: Path, *changes: str) -> Learned:
    learn_together([options(data, number, output / NAMES[number - 1], *changes) for number in (1, 2)], output)
    return {
        name: (sha256(output / name / "critic.safetensors"), sha256(output / name / "curve.json")) for name in NAMES
    }


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learned]:
    output = tmp_path_factory.mktemp("learned") / "run"
    return output, learned(data, output)


def test_each_task_has_a_folder_with_its_critic_and_its_curve(reference: tuple[Path, Learned], data: Path) -> None:
    output, found = reference
    assert found[NAMES[0]] != found[NAMES[1]]
    steps = []
    for number, name in enumerate(NAMES, 1):
        curve = json.loads((output / name / "curve.json").read_text())
        steps.append([point["steps"] for point in curve])
        assert "unsteered" in curve[0]
        assert is_whole(output / name, "critic", "critic", name)
        task = [f"task={HERE}/toy_domain.py:{name.partition('.')[2]}", f"policy={HERE}/toy_domain.py:Walker"]
        asked = read_command("evaluate", [*task, "samplers=best_of_n", f"critic={output}"])
        assert asked.critic.options["folder"] == str((output / name).resolve()), number
    assert steps[0] == steps[1], "environment steps of a task, on average, so that curves have a mean"
    assert steps[0][0] == 0 < 20 <= steps[0][1]


def test_the_policy_draws_once_for_all_tasks(reference: tuple[Path, Learned]) -> None:
    output, _ = reference
    assert not any((output / name / "draws").exists() for name in NAMES)
    for number in range(len(list((output / "draws").iterdir()))):
        rounds = [read_hdf5(output / name / "replay" / f"{number:05d}.hdf5") for name in NAMES if number]
        played = sum(len(episode.actions) for episodes in rounds for episode in episodes)
        assert len(np.load(output / "draws" / f"{number:05d}.npy")) == (played if number else 8 * 20)


def test_from_data_each_task_learns_what_it_learns_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights up to rounding, and the same episodes."""
    learned(data, tmp_path / "both", "steps=0")
    for number, name in enumerate(NAMES, 1):
        monkeypatch.setattr(play_files, "OGBENCH", name)
        learn(options(data, number, tmp_path / name, "steps=0"))
        alone, together = (LearnFolder(folder / name).read_state() for folder in (tmp_path, tmp_path / "both"))
        assert alone is not None
        assert together is not None
        for parameter, value in alone.weights["critic"].items():
            torch.testing.assert_close(together.weights["critic"][parameter], value, atol=1e-5, rtol=1e-5)
        assert together.curve[0].outcomes == alone.curve[0].outcomes
        assert together.curve[0].unsteered == alone.curve[0].unsteered
        assert together.figures["loss"] == pytest.approx(alone.figures["loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("write", "times"), [("write_state", times) for times in (1, 4, 6, 8, 10)] + [("write_replay", 1)]
)
def test_an_interrupted_run_goes_on_to_the_same_result(
    write: str,
    times: int,
    data: Path,
    tmp_path: Path,
    reference: tuple[Path, Learned],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the midst of a fit too, and between two tasks: states are written after every 10 updates here."""
    monkeypatch.setattr(beside_data, "SAVE_EVERY", 10)
    left, whole = iter(range(times)), getattr(LearnFolder, write)

    def interrupted(folder: LearnFolder, *what: Any) -> None:
        whole(folder, *what)
        if next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(LearnFolder, write, interrupted)
    with pytest.raises(KeyboardInterrupt):
        learned(data, tmp_path)
    monkeypatch.setattr(LearnFolder, write, whole)
    assert learned(data, tmp_path) == reference[1]


def test_tasks_that_share_a_trunk_go_on_to_the_same_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """method=ivl, interrupted in the fit after the first round; its curve says how well f predicts."""
    monkeypatch.setattr(beside_data, "SAVE_EVERY", 10)
    whole = learned(data, tmp_path / "whole", "method=ivl")
    assert whole[NAMES[0]][0] != whole[NAMES[1]][0]
    curve = json.loads((tmp_path / "whole" / NAMES[0] / "curve.json").read_text())
    assert {"loss", "dynamics_r2_1"} <= curve[-1]["critic"].keys()
    write = SharedFolder.write_state

    def interrupted(folder: SharedFolder, state: LearnerState) -> None:
        write(folder, state)
        if state.rounds == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(SharedFolder, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learned(data, tmp_path / "cut", "method=ivl")
    monkeypatch.setattr(SharedFolder, "write_state", write)
    assert learned(data, tmp_path / "cut", "method=ivl") == whole


def test_each_task_has_its_own_actor_which_goes_on_after_an_interruption(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two tasks: after the round, the first has its new actor, the second has not."""
    edit = ["samplers=[edit]", "steps=1"]
    whole = learned(data, tmp_path / "whole", *edit)
    actors = [sha256(tmp_path / "whole" / name / "edit_actor.safetensors") for name in NAMES]
    assert actors[0] != actors[1]
    write = LearnFolder.write_state

    def interrupted(folder: LearnFolder, state: LearnerState) -> None:
        write(folder, state)
        if state.rounds and folder.path.name == NAMES[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(LearnFolder, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learned(data, tmp_path / "cut", *edit)
    monkeypatch.setattr(LearnFolder, "write_state", write)
    assert learned(data, tmp_path / "cut", *edit) == whole
    assert [sha256(tmp_path / "cut" / name / "edit_actor.safetensors") for name in NAMES] == actors


def test_an_episode_of_one_task_teaches_the_others(reference: tuple[Path, Learned], data: Path) -> None:
    """Their rewards follow from its states; its end, a goal or not, is a time limit for them."""
    output, _ = reference
    rewards = TaskRewards([options(data, number, output / NAMES[number - 1]).task for number in (1, 2)])
    episodes = read_hdf5(output / NAMES[0] / "replay" / "00001.hdf5")
    for episode, shared in zip(episodes, rewards.shared(episodes, own=0), strict=True):
        assert episode.rewards is not None
        assert shared.rewards is not None
        np.testing.assert_array_equal(shared.rewards.rewards[0], episode.rewards.rewards)
        np.testing.assert_array_equal(shared.rewards.masks[0], episode.rewards.masks)
        near = np.linalg.norm(episode.observations["qpos"] - (0.4, 0), axis=1) < 0.3
        np.testing.assert_array_equal(shared.rewards.rewards[1], near - 1.0)
        np.testing.assert_array_equal(shared.rewards.masks[1], ~near)
    (blank,) = rewards.shared([replace(episodes[0], success=False)], own=1)
    assert blank.rewards is not None
    np.testing.assert_array_equal(blank.rewards.rewards[1], episodes[0].rewards.rewards)  # type: ignore[union-attr]


def test_another_list_of_tasks_is_another_folder(reference: tuple[Path, Learned], data: Path) -> None:
    output, _ = reference
    with pytest.raises(RunError, match=r"tasks is .* there, "):
        learn_together([options(data, 1, output / NAMES[0])], output)


SCENE = ("task=ogbench", "task.env=scene", "method=td", "policy=flow", "samplers=best_of_n")


def test_tasks_of_a_domain_are_named_as_for_evaluations(data: Path, tmp_path: Path) -> None:
    found = read_learning([*SCENE, "task.index=1-2,4", f"data={data}", f"output={tmp_path}"])
    assert isinstance(found, LearnTogether)
    assert [task.task_name for task in found.tasks] == ["ogbench_scene_1", "ogbench_scene_2", "ogbench_scene_4"]
    assert [task.output for task in found.tasks] == [tmp_path / task.task_name for task in found.tasks]
    assert isinstance(read_learning([*SCENE, "task.index=3", f"data={data}"]), LearnOptions)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            ["data=[]", "method=sarsa"],
            "data is empty, and 3 tasks are named; accepted for several: files of play, .npz",
        ),
        (["data=DATA.hdf5"], "data is .*walks.hdf5, and 3 tasks are named; accepted for several: files of play, .npz"),
        (
            ["method=monte_carlo_return"],
            "method is monte_carlo_return, and 3 tasks are named; accepted for several: td, ",
        ),
        (
            ["bootstrap=steered"],
            "bootstrap is steered, whose chunks each task draws for itself, and 3 tasks are named; ",
        ),
        (["overlap=true"], "overlap is true, and 3 tasks are named; accepted for several: false"),
        (["task.index=0-2"], "task.index is 0-2; accepted for ogbench: all, or numbers from 1 to 5, as in 1-3,5"),
    ],
)
def test_refusals(changes: list[str], told: str, data: Path, tmp_path: Path) -> None:
    walks = tmp_path / "walks.hdf5"
    walks.touch()
    given = [change.replace("DATA.hdf5", str(walks)) for change in changes]
    with pytest.raises(RunError, match=f"^{told}"):
        read_learning([*SCENE, "task.index=1-3", f"data={data}", *given])


@pytest.mark.parametrize("task", [["task=lift,can"], ["task=libero_goal", "task.index=0-1"]])
def test_tasks_of_no_common_domain_are_refused(task: list[str], data: Path) -> None:
    with pytest.raises(
        RunError,
        match=f"^task names 2 tasks, of them {task[0][5:].partition(',')[0]}; accepted to be learned together: ",
    ):
        read_learning([*task, "method=sarsa", f"data={data}", "samplers=best_of_n"])
