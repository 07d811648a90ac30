"""LIBERO through the Task protocol: its own protocol, its files, and none of its traps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from policies.observation import ObservationRequest
from sim_eval.config.options import Choice, Text
from sim_eval.config.tasks import task_of
from tasks import EpisodeKey
from tasks.libero_files import asset_folder, task_files
from tasks.libero_suites import INIT_STATES, PERTURBATIONS, SUITES
from tasks.libero_task import LiberoTask
from tasks.random_state import seeded
from tests.shared_tasks import shared_task

THREE = ("libero_spatial", "libero_object", "libero_goal")


def key(name: str, env_seed: int) -> EpisodeKey:
    return EpisodeKey(name, 0, env_seed, 0)


def observe(task: Any, *names: str, **drawn: Any) -> Mapping[str, Any]:
    return task.observe(ObservationRequest(names, **drawn))


# The protocol --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [("libero_spatial", "bowl between the plate"), ("libero_object", "alphabet soup"), ("libero_goal", "middle")],
)
def test_instructions_come_from_the_bddl_file(name: str, words: str) -> None:
    task = shared_task(name)
    assert words in task.spec.instruction
    assert task.spec.instruction in task_files(SUITES[name], 0).bddl.read_text().lower()


@pytest.mark.parametrize("name", THREE)
def test_starts_are_the_settled_init_states_as_libero_itself_gives_them(name: str) -> None:
    """LIBERO's own hard reset, `set_init_state` and ten idle steps, against ours."""
    task = shared_task(name)
    stock = hard_reset_environment(name)
    states = np.load(task_files(SUITES[name], 0).init_states)["states"]
    for k in (3, 49):
        task.reset(key(name, 7))
        task.reset(key(name, k))
        with seeded(k):
            stock.reset()
        stock.sim.set_state_from_flattened(states[k])
        stock.sim.forward()
        for _ in range(10):
            stock.step([0, 0, 0, 0, 0, 0, -1])
        assert np.abs(stock.sim.data.qpos - task._data.qpos).max() < 1e-6
        np.testing.assert_array_equal(stock.sim.model.body_pos, task._model.body_pos)
        np.testing.assert_array_equal(stock.sim.model.body_quat, task._model.body_quat)


def test_drawn_starts_are_those_of_libero_s_own_reset() -> None:
    """A bowl on the cabinet, which LIBERO places relative to the cabinet."""
    task: Any = tasks.make("libero_spatial", index=9)
    stock = hard_reset_environment("libero_spatial", 9, noise="default")
    task.settling = task.settling[:0]
    for seed in (INIT_STATES, 12345):
        task.reset(key(task.spec.name, 7))
        task.reset(key(task.spec.name, seed))
        with seeded(seed):
            stock.reset()
        np.testing.assert_array_equal(stock.sim.data.qpos, task._data.qpos)
        np.testing.assert_array_equal(stock.sim.model.body_pos, task._model.body_pos)
    task.close()


def hard_reset_environment(name: str, index: int = 0, noise: str | None = None) -> Any:
    """LIBERO's environment as its own wrapper makes it, less the cameras."""
    from tasks.libero_import import load_libero
    from tasks.robosuite_import import load_robosuite

    bddl = str(task_files(SUITES[name], index).bddl)
    domain = load_libero(asset_folder())
    problem = domain.BDDLUtils.get_problem_info(bddl)["problem_name"]
    return domain.TASK_MAPPING[problem](
        bddl,
        robots=["Panda"],
        controller_configs=load_robosuite().load_controller_config(default_controller="OSC_POSE"),
        gripper_types="default",
        initialization_noise=noise,
        use_camera_obs=False,
        has_offscreen_renderer=False,
        control_freq=20,
        ignore_done=True,
        hard_reset=True,
    )


@pytest.mark.parametrize("name", THREE)
def test_fast_stepping_moves_the_arm_as_stock_does(name: str) -> None:
    wave = np.sin(np.arange(20)[:, None] / 10.0 + np.arange(7.0)) * [0.5, 0.5, 0.2, 0.3, 0.3, 0.6, 1.0]
    wave[:, 2] += 0.4  # up and clear of everything
    paths = []
    for stepping in ("stock", "fast"):
        task = shared_task(name, stepping=stepping)
        task.reset(key(name, 0))
        arm = task._env.robots[0]._ref_joint_pos_indexes
        paths.append([(task.step(action), task._data.qpos[arm].copy())[1] for action in wave])
    assert np.abs(np.array(paths[0]) - np.array(paths[1])).max() < 1e-4


def test_every_suite_has_the_files_of_its_last_task() -> None:
    for suite in SUITES.values():
        files = task_files(suite, suite.tasks - 1)
        assert files.bddl.is_file()
        assert files.init_states.is_file()


def test_larger_seeds_draw_starts_that_scatter_as_the_published_ones() -> None:
    task = shared_task("libero_object")

    def hand_at(seed: int) -> np.ndarray:
        task.reset(key("libero_object", seed))
        return observe(task, "robot0_eef_pos")["robot0_eef_pos"]

    hands = [
        np.array([hand_at(seed) for seed in seeds])
        for seeds in (range(INIT_STATES), range(INIT_STATES, 2 * INIT_STATES))
    ]
    hand_at(0)
    again = hand_at(INIT_STATES)
    assert len(np.unique(np.concatenate(hands), axis=0)) == 2 * INIT_STATES
    np.testing.assert_array_equal(again, hands[1][0])
    np.testing.assert_allclose(hands[0].mean(axis=0), hands[1].mean(axis=0), atol=0.01)
    np.testing.assert_allclose(hands[0].std(axis=0), hands[1].std(axis=0), rtol=0.5)


def test_fixtures_are_placed_by_the_seed_and_hashed() -> None:
    task = shared_task("libero_goal")
    cabinet = task._env.sim.model.body_name2id("wooden_cabinet_1_main")
    places = []
    for seed in (0, 1, 0):
        task.reset(key("libero_goal", seed))
        places.append(task._model.body_pos[cabinet].copy())
    before = task.state_hash()
    task._model.body_pos[cabinet] += 1e-9
    assert task.state_hash() != before
    np.testing.assert_array_equal(places[0], places[2])
    assert np.abs(places[0] - places[1]).max() > 1e-4


@pytest.fixture(scope="module")
def hashes_in_another_process() -> dict[str, list[str]]:
    """Of 30 random steps of each task, by its name."""
    program = (
        "import numpy as np, tasks\n"
        f"for name in {THREE!r}:\n"
        "    task = tasks.make(name)\n"
        "    task.reset(tasks.EpisodeKey(name, 0, 4, 0))\n"
        "    print(task.state_hash())\n"
        "    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (30, 7)):\n"
        "        task.step(action)\n"
        "        print(task.state_hash())\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = answer.stdout.split()
    return {name: lines[31 * number : 31 * (number + 1)] for number, name in enumerate(THREE)}


@pytest.mark.parametrize("name", THREE)
def test_one_key_gives_one_trajectory_in_one_process_and_in_two(
    name: str, hashes_in_another_process: dict[str, list[str]]
) -> None:
    task = shared_task(name)
    for env_seed in (4, 9, 4):  # another episode in between
        task.reset(key(name, env_seed))
        here = [task.state_hash()]
        for action in np.random.default_rng(0).uniform(-1.0, 1.0, (30, 7)):
            task.step(action)
            here.append(task.state_hash())
        assert (here == hashes_in_another_process[name]) == (env_seed == 4)


# What is observed ----------------------------------------------------------------------------------------


def test_the_drawer_is_observed_by_its_handle_and_its_slide() -> None:
    task = shared_task("libero_goal")
    task.reset(key("libero_goal", 0))
    shut = observe(task, "object")["object"]
    slide = task._interests[0].joints[0]
    task._data.qpos[slide] = -0.15  # open
    outcome = task.step(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]))
    seen = observe(task, "object", "robot0_eef_pos")
    wide = seen["object"]
    assert shut[10] == pytest.approx(0.0, abs=0.005)
    assert wide[10] == pytest.approx(-0.15, abs=0.005)
    assert np.linalg.norm(wide[:3] - shut[:3]) == pytest.approx(0.15, abs=0.01)
    np.testing.assert_allclose(wide[7:10], seen["robot0_eef_pos"] - wide[:3], atol=1e-6)
    assert outcome.success
    assert outcome.done


def test_success_is_libero_s() -> None:
    """The bowl put onto the plate by hand, where LIBERO's `On` wants it."""
    task = shared_task("libero_spatial")
    task.reset(key("libero_spatial", 0))
    sim, plate = task._env.sim, observe(task, "object")["object"][10:13]
    address = sim.model.get_joint_qpos_addr("akita_black_bowl_1_joint0")[0]
    sim.data.qpos[address : address + 3] = [*plate[:2], plate[2] + 0.02]
    steps = [task.step(np.zeros(7))]
    while not steps[-1].done:
        steps.append(task.step(np.zeros(7)))
    assert steps[-1].success
    assert steps[-1].reward == 1.0
    assert not any(step.success for step in steps[:-1])
    assert [step.goals_met for step in steps] == [0.0] * (len(steps) - 1) + [1.0]


# Traps ---------------------------------------------------------------------------------------------------


def test_nothing_is_asked_written_printed_or_needlessly_imported(tmp_path: Path) -> None:
    program = (
        "import sys, tasks\n"
        "tasks.make('libero_goal').reset(tasks.EpisodeKey('libero_goal', 0, 0, 0))\n"
        "needless = {'torch', 'robomimic', 'wandb', 'transformers', 'gymnasium', 'matplotlib', 'cloudpickle'}\n"
        "print(sorted(needless & set(sys.modules)))\n"
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=home
    )
    assert (answer.stdout.strip(), answer.stderr, answer.returncode) == ("[]", "", 0)
    assert not list(tmp_path.iterdir())


# Configuration, and all tasks ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUITES)
def test_suite_and_index_compose(name: str) -> None:
    task = task_of(Choice(name, {"index": Text("3")}))
    assert task.stored().items() >= {"name": name, "index": 3, "stepping": "fast"}.items()


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("perturbation", [None, *PERTURBATIONS])
def test_every_task_of_every_suite_resets_settles_steps_and_renders(name: str, perturbation: str | None) -> None:
    if (name, perturbation is None) == ("libero_90", False):
        return  # it has no variants
    for index in range(SUITES[name].tasks):
        task = tasks.make(name, index=index, perturbation=perturbation)
        assert isinstance(task, LiberoTask)
        for env_seed in (0, INIT_STATES - 1, 12345):
            task.reset(key(task.spec.name, env_seed))
            settled = np.abs(task._data.qvel).max()
            # A few of LIBERO-PRO's starts still move (up to 5 m/s or rad/s).
            assert perturbation or settled < 1.0, f"{task.spec.name} still moves after settling: {settled:.2f}"
        for action in np.random.default_rng(index).uniform(-1.0, 1.0, (20, 7)):
            task.step(action)
        assert all(np.isfinite(value).all() for value in observe(task, *task.spec.observations).values())
        for camera in task.spec.cameras:
            assert task.frame(camera, 128).std() > 5.0
        task.close()
