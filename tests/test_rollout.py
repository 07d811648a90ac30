"""The engine's promises: pairing, batch and worker invariance, honest costs, crashes as errors."""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from policies.observation import ObservationRequest
from policies.policy import Observations
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import Environment, Execute, Ran, Reset
from sim_eval.rollout.episodes import Episode, Keep, action_path, jerk, run_episodes
from sim_eval.rollout.inference import Decider, PendingDecision
from sim_eval.rollout.keys import BLOCKS, episode_keys, noise_generator
from sim_eval.rollout.pool import open_pool
from sim_eval.samplers import DSRL, QGF, VGPS, BestOfN, Edit, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey, Outcome
from tests.small_models import random_observation, small_models
from tests.toy_models import ToyCritic, ToyDenoiser, ToyPolicy, ToySampler
from tests.toy_task import ToyTask, toy_without_torch

MODELS = Models(ToyDenoiser(), ToyCritic())


def rollout(
    workers: int = 0,
    batch: int = 8,
    episodes: int = 12,
    sampler: Sampler | None = None,
    models: Models = MODELS,
    task: Any = ToyTask,
    **options: Any,
) -> list[Episode]:
    keys = episode_keys("toy", 0, episodes)
    with open_pool(task, workers, batch) as pool:
        done = run_episodes(pool, keys, sampler or ToySampler(n=2), models, "toy_sampler", **options)
        return sorted(done, key=lambda episode: episode.key.episode)


def position_of(task: ToyTask) -> np.ndarray:
    position: np.ndarray = task.observe(ObservationRequest(("position",)))["position"]
    return position


def start_of(key: EpisodeKey) -> np.ndarray:
    task = ToyTask()
    task.reset(key)
    return position_of(task)


def comparable(episode: Episode) -> dict[str, Any]:
    fields = asdict(episode)
    del fields["wall_s"], fields["spent"], fields["cost"]["decision_ms"]
    fields["actions"] = episode.actions.tobytes()
    for kept in ("trace", "first"):
        fields[kept] = {name: np.asarray(values).tobytes() for name, values in getattr(episode, kept).items()}
    return fields


def test_keys_of_different_blocks_never_share_a_start() -> None:
    starts = {block: {key.env_seed for key in episode_keys("can", 0, 500, block)} for block in BLOCKS}
    for first, second in itertools.combinations(BLOCKS, 2):
        assert not starts[first] & starts[second]
    assert all(len(seeds) == 500 for seeds in starts.values())
    assert all(0 <= seed < 2**32 for seeds in starts.values() for seed in seeds)


def test_keys_depend_on_seed_and_index_alone() -> None:
    assert episode_keys("can", 3, 10)[:4] == episode_keys("can", 3, 4)
    other = {key.env_seed for key in episode_keys("can", 4, 50)}
    assert not other & {key.env_seed for key in episode_keys("can", 3, 50)}
    with pytest.raises(ValueError, match="evaluation"):
        episode_keys("can", 0, 1, "evaluation")


def test_libero_is_evaluated_on_its_published_starts_and_on_nothing_else() -> None:
    keys = episode_keys("libero_goal", 7, 100)
    assert [key.env_seed for key in keys] == [*range(50), *range(50)]
    assert len({key.noise_seed for key in keys}) == 100
    others = [key.env_seed for block in BLOCKS[1:] for key in episode_keys("libero_goal", 7, 100, block)]
    assert min(others) >= 50
    assert len(set(others)) == 200


def test_noise_is_new_for_every_decision_and_the_same_every_time() -> None:
    first, again = noise_generator(5, 0), noise_generator(5, 0)
    torch.randn(99, generator=again)  # what a sampler drew at decision 0 does not reach decision 1
    assert torch.equal(torch.randn(4, generator=first), torch.randn(4, generator=noise_generator(5, 0)))
    later = torch.randn(4, generator=noise_generator(5, 1))
    assert not torch.equal(later, torch.randn(4, generator=noise_generator(5, 0)))


def test_each_decision_of_an_episode_draws_its_own_noise() -> None:
    decider, observation = Decider(ToySampler(), MODELS, "toy"), {"position": np.zeros(2, np.float32)}
    first, second = (PendingDecision(episode_keys("toy", 0, 1)[0], decision, observation) for decision in (0, 1))
    (chunk, later), (again,) = decider.decide([first, second]), decider.decide([first])
    assert not np.array_equal(chunk.actions, later.actions)
    assert np.array_equal(chunk.actions, again.actions)


@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (1, 8), (2, 8), (2, 3), (0, 16)])
def test_episodes_do_not_depend_on_workers_or_batch(workers: int, batch: int) -> None:
    reference = [comparable(episode) for episode in rollout(workers=0, batch=8)]
    assert [comparable(episode) for episode in rollout(workers, batch)] == reference
    assert any(episode["success"] for episode in reference)


def test_rows_are_counted_per_episode_without_padding() -> None:
    for episode in rollout(episodes=3, sampler=ToySampler(n=2)):
        decisions = -(-episode.steps // MODELS.policy.execute)
        assert episode.cost.policy_rows == decisions * 4 * 2  # 4 denoising steps, 2 candidates
        assert episode.cost.critic_rows == decisions * 2  # the evaluation of mean_q is not the sampler's cost
        assert episode.cost.posterior_rows == 0
        assert episode.mean_q is not None
        assert -2 < episode.mean_q < 0
        assert episode.q is not None
        assert len(episode.q) == decisions
        assert episode.cost.decision_ms is not None
        assert episode.cost.decision_ms > 0


def test_jerk_is_the_third_difference_without_the_gripper() -> None:
    steps = np.arange(10, dtype=np.float32)
    cubic, still, gripper = steps**3 / 6, np.ones(10), (-1.0) ** steps  # of which the third differences are 1, 0 and 8

    def jerk_of(*dimensions: np.ndarray) -> float | None:
        return jerk(np.stack(dimensions, axis=1).astype(np.float32))

    assert jerk_of(cubic, gripper) == pytest.approx(1.0)
    assert jerk_of(cubic, still, gripper) == pytest.approx(np.sqrt(0.5))
    assert jerk_of(still, gripper) == 0.0
    assert jerk_of(cubic[:4], gripper[:4]) == pytest.approx(1.0)
    assert jerk_of(cubic[:3], gripper[:3]) is None
    assert jerk_of(gripper) is None
    assert jerk(np.zeros((0, 0), np.float32)) is None, "an error before the first step"


def test_the_action_path_adds_up_actions_without_the_gripper() -> None:
    actions = np.array([[3, 4, 9], [0, 0, -9], [-3, 4, 0]], np.float32)
    assert action_path(actions) == 10.0
    assert action_path(actions[:, 2:]) is None
    assert action_path(np.zeros((0, 0), np.float32)) is None, "an error before the first step"


def test_without_a_critic_there_is_no_q() -> None:
    models = Models(ToyDenoiser())
    assert {episode.mean_q for episode in rollout(episodes=2, sampler=ToySampler(), models=models)} == {None}


def test_kept_observations_are_every_steps_and_replay_to_the_same_end() -> None:
    for episode in rollout(workers=1, episodes=4, keep=Keep(trace=("position",), decisions=True)):
        assert episode.trace["position"].shape == (episode.steps + 1, 2)
        assert episode.actions.shape == (episode.steps, 2)
        assert episode.decisions == -(-episode.steps // MODELS.policy.execute)
        task = ToyTask()
        task.reset(episode.key)
        assert task.state_hash() == episode.state_hash
        for action, seen in zip(episode.actions, episode.trace["position"][1:], strict=True):
            task.step(action)
            np.testing.assert_array_equal(position_of(task), seen)
        at_decisions = episode.trace["position"][:-1][:: MODELS.policy.execute]
        np.testing.assert_array_equal(np.stack([seen["position"] for seen in episode.seen]), at_decisions)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_crash_is_that_episodes_error_alone(workers: int) -> None:
    broken = functools.partial(ToyTask, crash="step", crash_in=(2, 5))
    sound = rollout(workers)
    for episode, other in zip(rollout(workers, task=broken), sound, strict=True):
        if episode.key.episode in (2, 5):
            assert episode.error is not None
            assert "RuntimeError: the toy broke (toy_task.py:" in episode.error
            assert not episode.success
        else:
            assert comparable(episode) == comparable(other)


def test_a_killed_worker_costs_its_episodes_and_is_replaced() -> None:
    broken = functools.partial(ToyTask, crash="kill", crash_in=(1,))
    episodes = rollout(workers=2, batch=4, task=broken)
    errors = {episode.key.episode: episode.error for episode in episodes if episode.error}
    assert errors[1] == "the worker process died (exit code -9)"
    assert set(errors) <= {1, 3}, "slots 1 and 3 share a worker"
    assert len(episodes) == 12
    sound = rollout()
    for episode in episodes:
        if episode.error is None:
            assert comparable(episode) == comparable(sound[episode.key.episode])


def test_workers_do_not_load_torch() -> None:
    assert [episode.error for episode in rollout(workers=1, episodes=2, task=toy_without_torch)] == [None, None]
    with pytest.raises(RunError, match="torch is loaded here"):
        rollout(workers=0, episodes=2, task=toy_without_torch)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_task_that_cannot_be_built_ends_the_run(workers: int) -> None:
    with pytest.raises(RunError, match=r"the task cannot be built: .*no_such_option"):
        rollout(workers, task=functools.partial(cast(Any, ToyTask), no_such_option=1))


def test_what_builds_no_task_or_cannot_be_sent_to_workers_is_refused() -> None:
    with pytest.raises(RunError, match="the task cannot be built: a NoneType was built; accepted: a Task"):
        rollout(task=lambda: None)
    with pytest.raises(RunError, match=r"the task cannot be sent to worker processes: .*; accepted: workers=0"):
        rollout(workers=1, task=lambda: ToyTask())


def test_a_policy_of_another_task_is_refused() -> None:
    with pytest.raises(RunError, match="actions have 3 dimensions, those of task toy have 2"):
        rollout(models=Models(ToyDenoiser(action_dim=3), ToyCritic()))
    wide = ToyDenoiser(observation_sizes={"position": 7})
    with pytest.raises(RunError, match="observation position with 7 numbers, task toy gives 2"):
        rollout(models=Models(wide, ToyCritic()))


def test_nan_from_critic_or_sampler_names_it_with_task_and_episode() -> None:
    starts = [start_of(key)[0] for key in episode_keys("toy", 0, 12)]
    culprit = int(np.argmax(starts))
    models = Models(ToyDenoiser(), ToyCritic(nan_above=float(max(starts)) - 1e-4))
    errors = {e.key.episode: e.error for e in rollout(sampler=ToySampler(n=2), models=models, batch=12) if e.error}
    assert errors == {culprit: f"the critic returned NaN or infinity, sampler=toy_sampler task=toy episode={culprit}"}
    errors = {e.key.episode: e.error for e in rollout(sampler=ToySampler(bad=1.5)) if e.error}
    for episode, error in errors.items():
        assert error == f"the sampler returned NaN or infinity, sampler=toy_sampler task=toy episode={episode}"
    assert 0 < len(errors) < 12


def test_a_rollout_leaves_torchs_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    rollout(episodes=1)
    assert torch.get_num_threads() == threads


def test_only_what_a_decision_needs_is_observed() -> None:
    """A task is observed when a policy decides, not at every control step, and with a history just before that."""
    for history, expected in ((1, 1), (2, 2), (8, 3)):  # a chunk executes 3 steps
        task = ToyTask()
        environment = Environment(lambda task=task: task)  # type: ignore[misc]
        environment.handle(Reset(episode_keys("toy", 0, 1)[0], ObservationRequest(("time",), history=history)))
        before = task.observed
        reply = environment.handle(Execute(np.zeros((3, 2), np.float32)))
        assert task.observed - before == expected
        assert isinstance(reply, Ran)
        assert reply.observation is not None
        assert np.ravel(reply.observation["time"]).tolist() == [max(0, 4 - history + i) for i in range(history)]


def test_a_critic_sees_the_latest_of_a_history() -> None:
    """With two control steps of history the toy policy reads the last: episodes are those without history."""
    twice = ToyDenoiser(request=ObservationRequest(("position",), history=2))
    both = rollout(models=Models(twice, ToyCritic())), rollout()
    with_history, without = ([comparable(replace(episode, first={})) for episode in episodes] for episodes in both)
    assert with_history == without


def test_a_black_box_policy_and_a_features_critic_run_too() -> None:
    box = rollout(sampler=BestOfN(n=3), models=Models(ToyPolicy(), ToyCritic()))
    assert all(episode.cost.policy_rows == 3 * episode.decisions for episode in box)
    reading = rollout(sampler=BestOfN(n=3), models=Models(ToyDenoiser(), ToyCritic(uses_features=True)))
    assert [episode.q for episode in reading] == [episode.q for episode in box]


def test_an_observation_that_the_task_lacks_ends_the_run() -> None:
    asks = ToyDenoiser(request=ObservationRequest(("position", "wrist_image")))
    with pytest.raises(RunError, match="task toy does not offer the observation wrist_image; it offers position, goal"):
        rollout(models=Models(asks, ToyCritic()))


class Forgetful(ToyTask):
    def observe(self, request: Any) -> Any:
        return {"goal": super().observe(request)["position"]}


class Endless(ToyTask):
    def step(self, action: np.ndarray) -> Outcome:
        return replace(super().step(action), success=False, done=False)


def test_an_observation_that_a_task_promises_and_leaves_out_ends_the_run() -> None:
    with pytest.raises(RunError, match="task toy was asked to observe position, and its `observe` left it out"):
        rollout(task=Forgetful)


def test_a_start_without_a_hash_ends_the_run() -> None:
    class Hashless(ToyTask):
        def state_hash(self) -> str:
            return cast(str, None)

    with pytest.raises(RunError, match="task toy: `state_hash` gave a NoneType; accepted: a str"):
        rollout(task=Hashless, episodes=1)


def test_a_task_that_does_not_end_is_an_error_of_its_episode() -> None:
    (episode,) = rollout(task=Endless, episodes=1)
    assert "task toy did not end after its 40 steps" in str(episode.error)


def test_a_task_may_tell_success_in_numpys_type() -> None:
    class Numpys(ToyTask):
        def step(self, action: np.ndarray) -> Outcome:
            outcome = super().step(action)
            return replace(
                outcome, success=cast(bool, np.bool_(outcome.success)), done=cast(bool, np.bool_(outcome.done))
            )

    (episode,) = rollout(task=Numpys, episodes=1)
    assert type(episode.success) is bool


def test_what_a_users_model_returns_in_another_shape_is_refused() -> None:
    class FlatActions(ToyDenoiser):
        def unnormalise(self, actions: torch.Tensor) -> np.ndarray:
            return super().unnormalise(actions)[..., 0]

    class ColumnCritic(ToyCritic):
        def q(self, actions: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
            return super().q(actions, encoded)[:, None]

    class ArrayPolicy(ToyPolicy):
        def sample(self, *given: Any, **named: Any) -> Any:
            return super().sample(*given, **named).numpy()

    class ShortChunks(ToyDenoiser):
        def clean(self, *given: Any) -> torch.Tensor:
            return super().clean(*given)[:, :1]  # torch would stretch it to the whole chunk

    with pytest.raises(RunError, match=r"`clean` returned a Tensor \(8, 1, 2\) for x \(8, 4, 2\)"):
        rollout(sampler=Unsteered(), models=Models(ShortChunks(), None))
    with pytest.raises(RunError, match=r"unnormalise gave a ndarray \(8, 4\) for chunks \(8, 4, 2\)"):
        rollout(models=Models(FlatActions(), ToyCritic()))
    with pytest.raises(RunError, match=r"the critic returned a Tensor \(16, 1\) as Q; accepted: a tensor \(16,\)"):
        rollout(models=Models(ToyDenoiser(), ColumnCritic()))
    with pytest.raises(RunError, match=r"returned a ndarray \(8, 4, 2\), expected a tensor \(8, 4, 2\)"):
        rollout(sampler=Unsteered(), models=Models(ArrayPolicy(), None))


@pytest.mark.parametrize("family", ["flow", "diffusion"])
@pytest.mark.parametrize(
    "sampler",
    [BestOfN(), ValueGuided(1.0), VGPS(1.0), QGF(1.0), QPilotsU(1.0), QPilotsM(1.0), DSRL(), Edit()],
    ids=repr,
)
def test_a_decision_does_not_depend_on_the_episodes_beside_it(sampler: Sampler, family: str) -> None:
    """On a real network: five episodes alone decide as they do among eight, bit for bit, gradients included."""
    decider, observation = Decider(sampler, small_models(family), "toy"), random_observation(8)
    pending = [
        PendingDecision(key, 0, {name: values[row] for name, values in observation.items()})
        for row, key in enumerate(episode_keys("toy", 0, 8))
    ]
    together = decider.decide(pending)
    for count in (1, 5, 7):
        for alone, beside in zip(decider.decide(pending[:count]), together[:count], strict=True):
            assert np.array_equal(alone.actions, beside.actions)
            assert alone.q == beside.q


@pytest.mark.parametrize("sampler", [BestOfN(n=2, steps=4), QPilotsM(strength=0.5, draws=3, steps=4)], ids=repr)
def test_every_network_sees_one_number_of_rows(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any batch, with any number of episodes pending, and in a run that goes on after others had been played.

    torch rounds a row by how many rows there are, on some processors also among multiples of 8.
    """
    monkeypatch.setattr(Decider, "latency_ms", lambda *_: 0.0)  # a decision of one row, whose chunk nobody executes
    seen: set[tuple[str, int]] = set()

    class Watched(ToyDenoiser):
        def encode(self, observation: Observations) -> torch.Tensor:
            seen.add(("encode", len(observation["position"])))
            return super().encode(observation)

        def clean(self, x: torch.Tensor, t: float | torch.Tensor, context: Any) -> torch.Tensor:
            seen.add(("clean", len(x)))
            return super().clean(x, t, context)

    class WatchedCritic(ToyCritic):
        def q(self, actions: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
            seen.add((f"q of {'one' if actions.shape[0] == 8 else 'many'}", len(actions)))
            return super().q(actions, encoded)

    class WatchedPosterior:
        def draw(self, z: torch.Tensor, x: torch.Tensor, t: float, clean: torch.Tensor, context: Any) -> torch.Tensor:
            seen.add(("draw", len(x)))
            return clean + 0.1 * z

    models = Models(Watched(), WatchedCritic(), WatchedPosterior())
    keys = episode_keys("toy", 0, 19)
    for batch, waiting in ((1, keys), (8, keys), (13, keys), (16, keys[5:])):
        with open_pool(ToyTask, 0, batch) as pool:
            list(run_episodes(pool, waiting, sampler, models, "toy"))
    copies = sampler.n if isinstance(sampler, BestOfN) else 1
    expected = {("encode", 8), ("clean", 8 * copies), ("q of one", 8)}  # records hold Q of the chunk that is executed
    if isinstance(sampler, QPilotsM):
        expected |= {("draw", 8), ("q of many", 8 * sampler.draws)}
    else:
        expected |= {("q of many", 8 * copies)}
    assert seen == expected


def test_a_decision_is_padded_to_as_many_rows_as_the_policy_asks() -> None:
    seen = []

    class Watched(ToyDenoiser):
        row_block = 1

        def encode(self, observation: Observations) -> torch.Tensor:
            seen.append(len(observation["position"]))
            return super().encode(observation)

    rollout(episodes=1, batch=1, sampler=ToySampler(), models=Models(Watched(), ToyCritic()))
    assert set(seen) == {1}
