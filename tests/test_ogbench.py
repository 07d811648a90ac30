"""OGBench's tasks against the wheel's own gymnasium environments, and their names, options and listing."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from policies.observation import ObservationRequest
from sim_eval.commands.cli import run
from sim_eval.evaluation.suite import Suite, read_evaluation
from sim_eval.installation.tasks import suite_rows, task_rows
from tasks import EpisodeKey, TaskError
from tasks.naming import full_name
from tasks.ogbench_domains import ARM, DOMAINS, TASKS_OF_A_DOMAIN
from tasks.ogbench_import import environment_id, load_ogbench, quiet
from tasks.ogbench_rewards import Relabeller
from tasks.ogbench_task import clear_unseeded
from tasks.random_state import seeded
from tasks.registry import known_of, options_of, task_options
from tests.shared_tasks import shared_task

QUICK = ("cube-double", "antmaze-large")
#: Steps of an episode that OGBench does not end before: the limit is a number, which another test compares.
STEPS = 100


def theirs(domain: str, index: int) -> Any:
    with quiet():
        return load_ogbench().make(environment_id(domain, index), disable_env_checker=True)


def started(env: Any, seed: int, arm: bool) -> np.ndarray:
    """The wheel's reset from this suite's start: what it leaves to chance is cleared."""
    with seeded(seed), quiet():
        observation, _ = env.reset(seed=seed)
    if arm:
        clear_unseeded(env.unwrapped.model, env.unwrapped.data)
        observation = env.unwrapped.compute_observation()
    return observation


def goal_reached(env: Any, data: Any) -> None:
    """Put everything where the goal is, in the wheel's environment or in the one that a task holds."""
    import mujoco

    raw = env.unwrapped
    if hasattr(raw, "cur_goal_xy"):
        (
            raw.set_agent_ball_xy(raw.get_xy(), raw.cur_goal_xy)
            if hasattr(raw, "set_agent_ball_xy")
            else raw.set_xy(raw.cur_goal_xy)
        )
        return
    for cube in range(getattr(raw, "_num_cubes", 0)):
        data.joint(f"object_joint_{cube}").qpos[:3] = data.mocap_pos[raw._cube_target_mocap_ids[cube]]
    if hasattr(raw, "_cur_button_states"):
        raw._cur_button_states = raw._target_button_states.copy()
    if hasattr(raw, "_target_drawer_pos"):
        data.joint("drawer_slide").qpos[0], data.joint("window_slide").qpos[0] = (
            raw._target_drawer_pos,
            raw._target_window_pos,
        )
    mujoco.mj_forward(raw.model, data)


def compare(domain: str, index: int, episodes: int) -> int:
    """Play `episodes` on both sides, the goal reached in the middle of each; how many of them succeeded."""
    arm, name = DOMAINS[domain].robot == ARM, full_name("ogbench", env=domain, index=index)
    task, env, solved = tasks.make("ogbench", env=domain, index=index), theirs(domain, index), 0
    states: list[tuple[np.ndarray, np.ndarray]] = []  # before each step, with the buttons'
    judged = []  # each step's reward
    for episode in range(episodes):
        seed = 1000 + episode
        task.reset(EpisodeKey(name, episode, seed, 0))
        seen = started(env, seed, arm)
        rng = np.random.default_rng(episode)
        # Downwards half of the time, so that cubes and buttons are touched.
        for step in range(STEPS):
            np.testing.assert_array_equal(
                task.observe(ObservationRequest(("state",)))["state"], seen.astype(np.float32)
            )
            action = np.clip(rng.normal([0, 0, -0.3, 0, 0] if arm else 0.0, 0.7, env.action_space.shape), -1, 1)
            raw: Any = task
            states.append((raw._data.qpos.copy(), np.array(getattr(raw._env, "_cur_button_states", []))))
            outcome = task.step(action)
            judged.append(outcome.reward)
            seen, reward, terminated, truncated, info = env.step(action)
            assert (outcome.reward, outcome.success, outcome.done) == (
                reward,
                bool(info["success"]),
                terminated or truncated,
            )
            if outcome.done:
                break
            if step == STEPS // 2 and episode % 2:
                for one, data in ((task._env, task._data), (env, env.unwrapped.data)):  # type: ignore[attr-defined]
                    goal_reached(one, data)
                seen = env.unwrapped.compute_observation() if arm else env.unwrapped.get_ob()
        solved += outcome.success
    qpos, buttons = (np.stack(column) for column in zip(*states, strict=True))
    with closing(Relabeller(domain, index, False)) as relabeller:
        relabeller(qpos[::2], buttons[::2] if buttons.size else None)  # what it was asked before does not matter
        relabelled = relabeller(qpos, buttons if buttons.size else None)
    np.testing.assert_array_equal(relabelled[0], judged)
    np.testing.assert_array_equal(relabelled[1], np.array(judged) != 0)
    assert task.spec.reward_range is not None
    least, most = task.spec.reward_range
    assert least == min(judged) or domain.startswith(("scene", "puzzle"))
    assert most == max(judged)
    task.close()
    return solved


@pytest.mark.parametrize("domain", QUICK)
def test_reward_success_and_end_are_the_wheels(domain: str) -> None:
    assert compare(domain, 2, 2) == 1


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_reward_success_and_end_are_the_wheels_in_every_domain(domain: str) -> None:
    episodes = 20 if DOMAINS[domain].robot == ARM else 5
    assert compare(domain, 2, episodes) == episodes // 2


def test_every_domain_is_as_the_wheel_registers_it() -> None:
    registered = load_ogbench().registry
    for domain in DOMAINS.values():
        assert len(domain.instructions) == TASKS_OF_A_DOMAIN
        for index in range(1, TASKS_OF_A_DOMAIN + 1):
            assert registered[environment_id(domain.name, index)].max_episode_steps == domain.max_steps
            assert known_of("ogbench", env=domain.name, index=index) == (
                domain.instructions[index - 1],
                domain.max_steps,
            )


@pytest.mark.parametrize("name", ["cube-single_1", "antmaze-large_1", "humanoidmaze-medium_1"])
def test_the_robots_are_the_wheels(name: str) -> None:
    task = shared_task(f"ogbench_{name}")
    env = theirs(*name.rsplit("_", 1))  # type: ignore[arg-type]
    raw = env.unwrapped
    assert task.spec.action.shape == env.action_space.shape
    seconds = raw.dt if hasattr(raw, "dt") else raw.control_timestep()
    assert task.spec.control_hz == round(1 / seconds)
    assert {"mujoco", "ogbench"} <= task.spec.packages.keys()


def test_sparse_rewards_are_minus_one_until_success() -> None:
    task: Any = tasks.make("ogbench", env="cube-double", index=2, sparse=True)
    dense: Any = tasks.make("ogbench", env="cube-double", index=2)
    rewards, shares = [], []
    for one in (task, dense):
        one.reset(EpisodeKey("ogbench_cube-double_2", 0, 1, 0))
        outcomes = [one.step(np.zeros(5))]
        goal_reached(one._env, one._data)
        outcomes += [one.step(np.zeros(5)) for _ in range(2)]
        rewards.append([outcome.reward for outcome in outcomes])
        shares.append([outcome.goals_met for outcome in outcomes])
    assert shares[0] == shares[1] == [1 + reward / 2 for reward in rewards[1]], "of two cubes"
    assert rewards == [[-1.0, -1.0 * any(rewards[1][1:2]), 0.0], rewards[1]]
    assert rewards[1][0] == -2.0
    assert task.spec.name == dense.spec.name
    assert (task.spec.reward_range, dense.spec.reward_range) == ((-1.0, 0.0), (-2.0, 0.0))


def test_a_name_holds_domain_and_number() -> None:
    assert full_name("ogbench", env="cube-double", index=2) == "ogbench_cube-double_2"
    assert options_of("ogbench_puzzle-3x3_4") == {"name": "ogbench", "env": "puzzle-3x3", "index": 4}
    assert task_options("ogbench", sparse=True) == {"env": "cube-single", "index": 1, "sparse": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": "cube"}, r"env is 'cube'; accepted for ogbench: antmaze-medium, "),
        ({"index": 0}, r"index is 0; accepted for ogbench: 1 to 5"),
        ({"index": 6}, r"index is 6; accepted for ogbench: 1 to 5"),
        ({"sparse": 1}, r"sparse is 1; accepted: true or false"),
        ({"stepping": "stock"}, r"stepping is 'stock' for task 'ogbench'; accepted for every task but ogbench"),
        ({"gain": 0.5}, r"gain is 0.5 for task 'ogbench'; accepted for every task but ogbench"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task_options("ogbench", **options)
    with pytest.raises(TaskError, match=r"sparse is True for task 'can'; accepted for task 'ogbench' alone"):
        task_options("can", sparse=True)


def test_they_are_listed() -> None:
    rows = {row.task: row for row in suite_rows("ogbench", {}, [])}
    assert len(rows) == len(DOMAINS) * TASKS_OF_A_DOMAIN
    assert rows["ogbench_cube-double_4"][1:] == ("500", "", "swap the two cubes")
    assert [row.task for row in suite_rows("ogbench", {"env": "scene"}, [])] == [
        f"ogbench_scene_{n}" for n in range(1, 6)
    ]
    assert len(suite_rows("ogbench", {"index": 3}, [])) == len(DOMAINS)
    assert next(row for row in task_rows([]) if row.task == "ogbench").instruction.startswith("90 tasks")


def test_an_evaluation_takes_several_of_a_domain() -> None:
    found = read_evaluation(
        ["task=ogbench", "task.env=scene", "task.index=2-4", "policy=mini_vla", "samplers=unsteered"]
    )
    assert isinstance(found, Suite)
    assert [run.task_name for run in found.runs] == [f"ogbench_scene_{index}" for index in (2, 3, 4)]


POLICY = """
import torch
from policies.observation import ObservationRequest
from policies.policy import Denoiser
from policies.schedule import LinearPath


class Random(Denoiser):
    def __init__(self):
        self.schedule, self.horizon, self.execute, self.action_dim = LinearPath(), 4, 4, 5
        self.request = ObservationRequest(("state", "front_pixels_image"), image_size=16)
        self._weight = 0.1 * torch.randn(28, 5, generator=torch.Generator().manual_seed(0))

    def encode(self, observation):
        return torch.tanh(torch.from_numpy(observation["state"]) @ self._weight)

    def repeat(self, context, copies):
        return context.repeat_interleave(copies, 0)

    def clean(self, x, t, context):
        return context[:, None, :].expand_as(x) * 0.5 + 0.5 * x * t

    def features(self, context):
        return context
"""


@pytest.mark.slow
def test_a_policy_of_five_numbers_is_evaluated_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(POLICY)
    choice = ["task=ogbench", "task.env=cube-single", "task.index=2", "policy=./own.py:Random", "critic=none"]
    assert run([*choice, "samplers=unsteered", "episodes=2", "videos=1", "workers=2", "output=run"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert [(record["task"], record["steps"], record["error"]) for record in records] == [
        ("ogbench_cube-single_2", 200, None)
    ] * 2
    (video,) = (tmp_path / "videos" / "run").glob("*.mp4")
    assert video.stat().st_size > 10_000
