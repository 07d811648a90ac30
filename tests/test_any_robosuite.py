"""Tasks by options: any robosuite environment, any task of a LIBERO suite, and the one name each is known by."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robosuite.environments import base

import tasks
from policies.observation import ObservationRequest
from sim_eval.commands import cli
from sim_eval.rollout.keys import episode_key
from tasks.naming import full_name
from tasks.robosuite_any import environment_names
from tasks.task import EpisodeKey, Task, TaskError
from tests.robosuite_starts import starts

ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 7))


def play(task: Task, env_seed: int) -> list[str]:
    """The state's hash at the start and after every action."""
    task.reset(EpisodeKey(task.spec.name, 0, env_seed, 0))
    hashes = [task.state_hash()]
    for action in ACTIONS:
        task.step(action)
        hashes.append(task.state_hash())
    return hashes


@pytest.mark.parametrize("env", ["Stack", "NutAssemblyRound"])
def test_an_episode_follows_from_its_key_alone(env: str) -> None:
    task, fresh = tasks.make("robosuite", env=env), tasks.make("robosuite", env=env)
    first, second = play(task, 5), play(task, 6)
    assert first != second
    assert play(fresh, 6) == second
    assert play(task, 5) == first
    task.close()
    fresh.close()


def test_the_name_and_the_instruction_are_the_environment_s() -> None:
    task = tasks.make("robosuite", env="NutAssemblyRound")
    assert (task.spec.name, task.spec.instruction) == ("robosuite_NutAssemblyRound", "nut assembly round")
    task.close()


def test_starts_of_every_environment_follow_from_their_keys_in_two_processes() -> None:
    """robosuite's PickPlaceSingle and NutAssemblySingle pick an object by Python's `random` from a set of names."""
    program = "from tests.robosuite_starts import starts\nprint(*starts(), sep='\\n')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        here = starts()
        there = other.communicate()[0].split()
    assert len(here) == len(environment_names())
    assert here == there


def test_the_object_is_what_robosuite_observes() -> None:
    task = tasks.make("robosuite", env="Stack")
    task.reset(EpisodeKey(task.spec.name, 0, 3, 0))
    cube = task._env.sim.data.body_xpos[task._env.cubeA_body_id]  # type: ignore[attr-defined]
    request = ObservationRequest(("object",))
    np.testing.assert_allclose(task.observe(request)["object"][:3], cube, atol=1e-6)
    task.step(np.zeros(7))
    np.testing.assert_allclose(task.observe(request)["object"][:3], cube, atol=1e-6)
    task.close()


@pytest.mark.parametrize("env", [None, "stack", "TwoArmLift", "Wipe"])
def test_environments_that_do_not_exist_or_do_not_fit_are_refused(env: str | None) -> None:
    with pytest.raises(TaskError, match=rf"env is {env!r}; accepted: Lift, Stack, "):
        tasks.make("robosuite", env=env)


def test_the_docs_name_the_environment_that_is_left_out() -> None:
    accepted = environment_names()
    registered = {name for name, kind in base.REGISTERED_ENVS.items() if kind.__module__.startswith("robosuite.")}
    assert {name for name in registered - set(accepted) if not name.startswith("TwoArm")} == {"Wipe"}
    table = (Path(__file__).parent.parent / "docs" / "tasks.md").read_text()
    assert "any robosuite environment with one arm and a gripper, all but Wipe" in table


def test_options_of_other_tasks_are_refused() -> None:
    with pytest.raises(
        TaskError, match=r"env is 'Stack' for task 'can'; accepted for tasks 'robosuite' and 'ogbench' alone"
    ):
        tasks.make("can", env="Stack")
    with pytest.raises(
        TaskError, match=r"index is 3 for task 'robosuite'; accepted for LIBERO's suites and ogbench alone"
    ):
        tasks.make("robosuite", env="Stack", index=3)


def test_every_task_has_one_name() -> None:
    assert full_name("can", stepping="fast") == "can"
    assert full_name("robosuite", env="Stack") == "robosuite_Stack"
    assert full_name("libero_10", index=0) == "libero_10"
    assert full_name("libero_10", index=3) == "libero_10_3"


def test_another_index_runs_the_published_starts_too() -> None:
    assert episode_key("libero_goal_7", 0, 53).env_seed == 3
    assert episode_key("robosuite_Stack", 0, 53).env_seed > 50


def test_checkpoints_of_another_index_are_not_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["task=libero_goal", "task.index=7", "samplers=[unsteered]", "critic=none", f"output={tmp_path}/run"]
    monkeypatch.setattr("sys.argv", ["sim-eval", "evaluate", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "policy is flow; accepted: mini_vla, " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate", "sweep", "train"])
def test_a_task_that_does_not_exist_is_told_first(command: str) -> None:
    with pytest.raises(TaskError, match="index is 10; accepted for libero_goal: 0 to 9"):
        cli.read_command(command, ["task=libero_goal", "task.index=10"])
    with pytest.raises(TaskError, match="env is 'Stak'; accepted: Lift, Stack, "):
        cli.read_command(command, ["task=robosuite", "task.env=Stak"])


def test_training_without_a_recipe_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sim-eval", "train", "task=robosuite", "task.env=Stack"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "task robosuite_Stack has no recipe" in capsys.readouterr().err
