"""Exact look-ahead on the point mass, where the value of a state is known."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch

import tasks
from policies.observation import ObservationRequest
from policies.policy import Denoiser, Policy
from sim_eval.foundation.errors import RunError
from sim_eval.probing.look_ahead import Outcome, best, draws, look_ahead
from sim_eval.rollout.environment import End, MakeTask
from sim_eval.rollout.episodes import Episode, run_episodes
from sim_eval.rollout.inference import Decider, PendingDecision
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import open_pool
from sim_eval.samplers import Models, Unsteered
from sim_eval.samplers.denoise import draw_unsteered
from tasks.task import Task, TaskError, can_save
from tests.toy_models import ToyDenoiser, ToyPolicy
from tests.toy_task import ToyTask

STEPS = 10
KEYS = episode_keys("toy", 0, 12)


@dataclass(frozen=True)
class Nearness:
    """V = minus the distance of the vector that it reads to the origin; NaN if it is `broken`."""

    broken: bool = False
    observations: tuple[str, ...] = ("position",)

    def __call__(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        distance: np.ndarray = np.linalg.norm(observation[self.observations[0]], axis=1)
        return np.where(self.broken, np.nan, -distance)


def foreseen(
    n: int,
    policy: Policy | Denoiser | None = None,
    make_task: MakeTask = ToyTask,
    value: Nearness = Nearness(),
    workers: int = 0,
    slots: int = 4,
) -> list[Outcome]:
    with open_pool(make_task, workers, slots) as pool:
        played = look_ahead(pool, KEYS, policy or ToyDenoiser(), value, n, STEPS)
        return sorted(played, key=lambda outcome: outcome.key.episode)


def unsteered(policy: Policy | Denoiser) -> list[Episode]:
    with open_pool(ToyTask, 0, 4) as pool:
        played = run_episodes(pool, KEYS, Unsteered(STEPS), Models(policy), "unsteered")
        return sorted(played, key=lambda episode: episode.key.episode)


def pending() -> list[PendingDecision]:
    rng = np.random.default_rng(0)
    return [PendingDecision(key, 3, {"position": rng.uniform(-1, 1, 2).astype(np.float32)}) for key in KEYS]


@pytest.mark.parametrize("policy", [ToyDenoiser(), ToyPolicy()], ids=["denoiser", "policy"])
def test_one_draw_plays_the_unsteered_episode(policy: Policy | Denoiser) -> None:
    alone = foreseen(1, policy)
    assert [(one.success, one.steps, one.error) for one in alone] == [
        (episode.success, episode.steps, None) for episode in unsteered(policy)
    ]
    assert all(one.simulated == 2 * one.steps for one in alone)


def test_looking_ahead_beats_the_frozen_policy() -> None:
    """It gets there in half the steps."""
    ahead, frozen = foreseen(8), unsteered(ToyDenoiser())
    assert all(one.success for one in ahead)
    assert sum(one.steps for one in ahead) < 0.6 * sum(episode.steps for episode in frozen)
    # Beside each chunk that is executed 8 are tried, of 3 steps unless they end the episode.
    assert all(one.steps <= one.simulated <= one.steps + 8 * 3 * -(-one.steps // 3) for one in ahead)


def test_the_first_draw_is_the_engines_and_the_others_are_further_draws() -> None:
    policy = ToyDenoiser()
    decided = Decider(Unsteered(STEPS), Models(policy), "unsteered").decide(pending())
    drawn = draws(policy, pending(), 8, STEPS)
    assert drawn.shape == (len(KEYS), 8, policy.horizon, policy.action_dim)
    np.testing.assert_array_equal(drawn[:, 0], [decision.actions for decision in decided])
    np.testing.assert_array_equal(drawn[5:6], draws(policy, pending()[5:6], 8, STEPS))
    observation = {"position": np.stack([one.observation["position"] for one in pending()])}
    copies, _ = draw_unsteered(policy, observation, [one.generator() for one in pending()], STEPS, copies=8)
    np.testing.assert_allclose(drawn, policy.unnormalise(copies).reshape(drawn.shape), atol=1e-5)


def test_an_outcome_depends_on_neither_slots_nor_workers() -> None:
    assert foreseen(4) == foreseen(4, slots=1) == foreseen(4, workers=2, slots=3)


def test_the_soonest_success_is_best_then_the_highest_value() -> None:
    def end(steps: int, success: bool, position: float | None) -> End:
        return End(steps, success, None if position is None else {"position": np.array([position, 0.0], np.float32)})

    near, far, ended = end(3, False, 0.1), end(3, False, 0.9), end(2, False, None)
    assert best([far, near, ended], Nearness()) == 1
    assert best([ended, far, far], Nearness()) == 1
    assert best([ended, ended], Nearness()) == 0
    assert best([near, end(3, True, None), end(2, True, None), end(2, True, None)], Nearness()) == 2


def test_a_crash_ends_its_episode_alone() -> None:
    found = foreseen(2, make_task=functools.partial(ToyTask, crash="step", crash_in=(4,)))
    assert [one.key.episode for one in found if one.error is not None] == [4]
    assert "RuntimeError: the toy broke" in str(found[4].error)
    assert [one for one in found if one.error is None] == [one for one in foreseen(2) if one.key.episode != 4]


class Unsaved:
    """The toy without `save` and `restore`."""

    def __init__(self) -> None:
        self._inner = ToyTask()

    def __getattr__(self, name: str) -> Any:
        if name in ("save", "restore"):
            raise AttributeError(name)
        return getattr(self._inner, name)


class Inherited(Task):
    """As a user's task that subclasses `Task` and overrides neither."""

    spec = ToyTask.spec

    def close(self) -> None: ...


def test_a_task_that_cannot_save_is_named() -> None:
    needs = "task toy has no `save` and `restore` of its own; the exact look-ahead needs both"
    with pytest.raises(RunError, match=needs):
        foreseen(2, make_task=Unsaved)
    inherited = cast(Any, Inherited)()
    assert not can_save(inherited)
    for method in (inherited.save, lambda: inherited.restore(None)):
        with pytest.raises(TaskError, match=needs):
            method()
    with open_pool(Unsaved, 0, 4) as pool:
        played = list(run_episodes(pool, KEYS, Unsteered(STEPS), Models(ToyDenoiser()), "unsteered"))
    assert all(episode.error is None for episode in played)


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RunError, match="does not offer the observation velocity; it offers position"):
        foreseen(2, value=Nearness(observations=("velocity",)))
    with pytest.raises(RunError, match=r"the value gave a ndarray \(2,\); accepted: an array \(2,\) without NaN"):
        foreseen(2, value=Nearness(broken=True))
    with pytest.raises(RunError, match="the policy's actions have 3 dimensions, those of task toy have 2"):
        foreseen(2, ToyDenoiser(action_dim=3))


class Wander(Policy):
    """Random actions, in robosuite."""

    request, horizon, execute, action_dim = ObservationRequest(("robot0_eef_pos",)), 8, 8, 7

    def sample(self, observation: Mapping[str, Any], generators: Any, copies: int = 1) -> torch.Tensor:
        return torch.stack([torch.randn(8, 7, generator=one) for one in generators for _ in range(copies)])


def test_in_robosuite_one_draw_ends_in_the_unsteered_episodes_state() -> None:
    """After 400 steps, and as many that were taken back."""
    task, keys, ends = tasks.make("lift"), episode_keys("lift", 0, 1), []
    pool = open_pool(lambda: task, 0, 1)
    for played in (
        run_episodes(pool, keys, Unsteered(STEPS), Models(Wander()), "unsteered"),
        look_ahead(pool, keys, Wander(), Nearness(observations=("object",)), 1, STEPS),
    ):
        (episode,) = played
        ends.append((episode.steps, episode.error, task.state_hash()))
    pool.close()
    assert ends[0] == ends[1]
