"""A Gymnasium environment as a task: its spaces, success, starts, and a run with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sim_eval
import tasks
from policies.observation import ObservationRequest
from sim_eval.analysis.compare import compare
from sim_eval.commands.cli import read_command
from sim_eval.commands.list import Options as ListOptions
from sim_eval.commands.list import run as list_
from sim_eval.config.options import Choice
from sim_eval.config.tasks import task_of
from tasks.registry import task_options
from tasks.task import EpisodeKey, TaskError, can_save
from tests.shared_tasks import shared_task

POINT = "tests.gym_worlds:Point-v0"


def point(**options: Any) -> Any:
    return tasks.make("gymnasium", **{"id": POINT, "success": "reached", **options})


def started(task: Any, env_seed: int = 3) -> Any:
    task.reset(EpisodeKey(task.spec.name, 0, env_seed, 0))
    return task


def test_spaces_become_vectors_and_cameras() -> None:
    task = started(point())
    spec = task.spec
    assert (spec.name, spec.instruction, spec.max_steps, spec.control_hz) == ("gymnasium_Point-v0", "Point-v0", 10, 5)
    assert spec.action == tasks.ArraySpec((2,), low=-1.0, high=1.0)
    assert spec.observations == {"robot.position": tasks.ArraySpec((2,)), "robot.joints.a": tasks.ArraySpec((1,))}
    assert spec.cameras == ("render", "front")
    assert spec.packages.keys() >= {"gymnasium"}
    seen = task.observe(ObservationRequest(("robot.position", "robot.joints.a", "instruction")))
    assert seen["robot.position"].dtype == np.float32
    assert seen["robot.joints.a"].tolist() == [2.0]
    assert seen["instruction"] == "Point-v0"
    with pytest.raises(
        TaskError, match=r"observation is 'state'; accepted: .*robot.position, .*, front_image, instruc"
    ):
        task.observe(ObservationRequest(("state",)))
    with pytest.raises(TaskError, match="camera is 'top'; accepted: render, front"):
        task.frame("top", 8)


def test_pictures_are_squares_and_drawn_only_when_asked_for() -> None:
    task = started(point())
    task.step(np.zeros(2))
    assert task._env.unwrapped.drawn == 0
    assert task.frame("render", 16).shape == (16, 16, 3)
    assert task._env.unwrapped.drawn == 1
    bright = {}
    for orientation in ("upright", "opengl", "rotated"):
        request = ObservationRequest(("front_image",), image_size=8, image_orientation=orientation)
        bright[orientation] = task.observe(request)["front_image"].mean(axis=(1, 2))
    assert bright["upright"][3] > 100  # a picture of 4 by 8, padded: its rows are 2 to 5
    assert bright["upright"][4] < 100
    assert np.array_equal(bright["opengl"], bright["upright"][::-1])
    assert np.array_equal(bright["rotated"], bright["upright"])


def test_mujoco_environments_draw_by_turns() -> None:
    """Each has a GL context of its own, as the suite's tasks in this process have."""
    drawing = [started(tasks.make("gymnasium", id=f"{name}-v5", success="return")) for name in ("Reacher", "Pusher")]
    lift = shared_task("lift")
    lift.reset(EpisodeKey("lift", 0, 0, 0))
    for _ in range(2):
        for task in (*drawing, lift):
            assert task.frame(task.spec.cameras[0], 64).std() > 5.0, "an empty picture"
    for task in drawing:
        task.close()


def test_actions_are_stretched_to_the_bounds() -> None:
    task = started(point())
    for action, moved in (([-1, -1], [-3.0, 0.0]), ([1, 1], [1.0, 0.2]), ([5.0, 0.0], [1.0, 0.1])):
        started(task)
        before = task._env.unwrapped.position.copy()
        task.step(np.array(action))
        np.testing.assert_allclose(task._env.unwrapped.position - before, np.array([1, 10]) * moved, rtol=1e-6)
    with pytest.raises(TaskError, match=r"action is \[nan, 0.0\]; accepted: 2 finite numbers"):
        started(task).step(np.array([np.nan, 0.0]))


FORWARDS, BACKWARDS, STILL = np.array([1.0, 0]), np.array([-1.0, 0]), np.array([0.5, 0])  # by 1, -3 and 0


@pytest.mark.parametrize(
    ("options", "action", "steps", "success"),
    [
        ({}, FORWARDS, 2, True),
        ({}, BACKWARDS, 1, False),
        ({}, STILL, 10, False),
        ({"success": "terminated"}, BACKWARDS, 1, True),
        ({"success": "terminated"}, STILL, 10, False),
        ({"success": "return", "threshold": -10}, STILL, 10, True),
        ({"success": "return", "threshold": -9}, STILL, 10, False),
        ({"success": "return", "threshold": -5, "max_steps": 4}, STILL, 4, True),
    ],
)
def test_success_and_end(options: dict[str, Any], action: np.ndarray, steps: int, success: bool) -> None:
    task = started(point(**options), env_seed=0)
    task._env.unwrapped.position[0] = -0.05
    outcomes = [task.step(action) for _ in range(steps)]
    assert [outcome.done for outcome in outcomes] == [False] * (steps - 1) + [True]
    assert [outcome.success for outcome in outcomes] == [False] * (steps - 1) + [success]
    with pytest.raises(TaskError, match="no episode under way"):
        task.step(action)


def test_a_key_that_info_never_has_is_named() -> None:
    task = started(point(success="is_success"))
    with pytest.raises(TaskError, match="success is 'is_success', which info never had in an episode; it has reached"):
        task.step(BACKWARDS)


def test_starts_follow_from_the_seed() -> None:
    task, hashes = point(), []
    for seed in (0, 1, 0):
        hashes.append(started(task, seed).state_hash())
        task.step(FORWARDS)
    assert hashes[0] == hashes[2] != hashes[1]
    assert not can_save(task)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"id": None}, "id is None; accepted for gymnasium: a registered id"),
        ({"id": "Reachr-v5"}, "id is 'Reachr-v5': .*Reacher"),
        ({"id": "no_such_module:A-v0"}, "id is 'no_such_module:A-v0': .*no_such_module"),
        ({"success": None}, "success is None; accepted for gymnasium: a key of info, terminated, return"),
        ({"success": "return"}, "without a reward threshold; give task.threshold=NUMBER"),
        ({"threshold": 3}, "threshold is 3, and success is 'reached'; accepted with success=return alone"),
        ({"max_steps": 0}, "max_steps is 0; accepted: a whole number of at least 1"),
        ({"kwargs": "a"}, "kwargs is 'a'; accepted: keywords of the environment"),
        ({"id": "tests.gym_worlds:Endless-v0"}, "without a limit of steps; give task.max_steps=N"),
        ({"gain": 0.5}, "gain is 0.5 for task 'gymnasium'; accepted for every task but ogbench and gymnasium"),
    ],
)
def test_options_are_refused_before_anything_is_built(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        task_options("gymnasium", **{"id": POINT, "success": "reached", **options})


def test_spaces_that_a_policy_cannot_act_in_are_refused() -> None:
    for id, told in (("Wide-v0", "accepted: a Box with bounds"), ("Counted-v0", "accepted: a Box")):
        with pytest.raises(TaskError, match=told):
            point(id=f"tests.gym_worlds:{id}")


def test_the_choice_holds_what_the_name_does_not() -> None:
    choice = task_of(Choice("gymnasium", {"id": POINT, "success": "reached", "kwargs": {"seeded": False}}))
    assert choice.full_name == "gymnasium_Point-v0"
    assert choice.varied == {"success": "reached", "kwargs": {"seeded": False}}


def test_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_(ListOptions(what="tasks", task=None, checkpoints=None)) == 0
    assert "gymnasium  " in capsys.readouterr().out
    arguments = ["tasks", "task=gymnasium", "task.id=Reacher-v5", "task.success=return", "task.threshold=-3"]
    assert list_(read_command("list", arguments)) == 0
    assert "gymnasium_Reacher-v5 50 Reacher-v5" in " ".join(capsys.readouterr().out.split())


class Balance(sim_eval.Policy):
    """Keeps Gymnasium's inverted pendulum upright, with noise."""

    request, horizon, execute, action_dim = ObservationRequest(("state",)), 2, 1, 1

    def sample(self, observation: Mapping[str, Any], generators: Sequence[Any], copies: int = 1) -> torch.Tensor:
        state = torch.from_numpy(observation["state"]).repeat_interleave(copies, dim=0)  # position, angle, their rates
        push = state @ torch.tensor([0.1, 3.0, 0.3, 0.5])
        noise = [torch.randn(2, 1, generator=generator) for generator in generators for _ in range(copies)]
        return push[:, None, None] + torch.stack(noise)


PENDULUM = {
    "name": "gymnasium", "id": "InvertedPendulum-v5", "success": "return", "max_steps": 25, "threshold": 24.5
}  # fmt: skip
TWICE = {"unsteered": sim_eval.Unsteered(), "again": sim_eval.Unsteered()}


def test_a_mujoco_environment_is_run_compared_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a worker process and in this one alike; the videos' frames replay the recorded actions."""
    runs = [
        sim_eval.evaluate(
            PENDULUM, Balance(), None, samplers=TWICE, episodes=4, workers=workers, output=tmp_path / name
        )
        for workers, name in ((1, "there"), (0, "here"))
    ]
    there, here = (sim_eval.read_runs(run.folder) for run in runs)
    assert there.task.unique().tolist() == ["gymnasium_InvertedPendulum-v5"]
    assert there.error.isna().all()
    columns = ["sampler", "episode", "env_seed", "state_hash", "success", "steps"]
    assert there[columns].sort_values(columns[:2]).equals(here[columns].sort_values(columns[:2]))
    assert there.state_hash.nunique() == 4
    assert {True, False} == set(there.success)
    comparison = compare([runs[0].folder])
    assert [row.pairing.pairs for row in comparison.tables[0].rows if row.pairing] == [4]
    assert "unpaired" not in capsys.readouterr().err
    paths = sim_eval.render(runs[0].folder, episodes=[0], samplers=["unsteered"], output=tmp_path / "videos", size=64)
    assert [path.suffix for path in paths] == [".mp4"]


class Push(sim_eval.Policy):
    """Pushes the point by about 1."""

    request, horizon, execute, action_dim = ObservationRequest(("robot.position", "front_image"), image_size=8), 1, 1, 2

    def sample(self, observation: Mapping[str, Any], generators: Sequence[Any], copies: int = 1) -> torch.Tensor:
        return torch.ones(len(generators) * copies, 1, 2)


@pytest.mark.parametrize("seeded", [True, False])
def test_starts_that_no_seed_determines_are_told_once_and_paired_with_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seeded: bool
) -> None:
    task = {"name": "gymnasium", "id": POINT, "success": "reached", "kwargs": {"seeded": seeded}}
    run = sim_eval.evaluate(task, Push(), None, samplers=TWICE, episodes=3, output=tmp_path / "run")
    warned = capsys.readouterr().err.count("starts differently with equal seeds")
    comparison = compare([run.folder])
    table = comparison.tables[0]
    assert [row.successes for row in table.rows] == [3, 3]
    if seeded:
        assert warned == 0
        assert [row.pairing.pairs for row in table.rows if row.pairing] == [3]
    else:
        assert warned == 1
        assert not any(row.pairing for row in table.rows)
        assert any("the start differs under the same key in 3 episodes" in line for line in comparison.warnings)
