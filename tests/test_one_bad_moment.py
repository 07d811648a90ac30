"""What a policy, a critic or a task does in one episode ends no other, and leaves the others' results as they are."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.policy import Observations, UndecidedError
from sim_eval.foundation.errors import ModelError, RunError
from sim_eval.rollout.episodes import Episode, run_episodes
from sim_eval.rollout.inference import Decider
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import open_pool
from sim_eval.samplers import QGF, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey, Observation, ObservationRequest
from tests.toy_models import ToyCritic, ToyDenoiser, ToyPolicy, ToySampler
from tests.toy_task import ToyTask

EPISODES = 12


def played(
    models: Models, sampler: Sampler, task: Any = ToyTask, workers: int = 0, batch: int = 8, only: Sequence[int] = ()
) -> dict[int, Episode]:
    """The episodes by number. `only`: those to play, if not all."""
    keys = [key for key in episode_keys("toy", 0, EPISODES) if not only or key.episode in only]
    with open_pool(task, workers, batch) as pool:
        return {each.key.episode: each for each in run_episodes(pool, keys, sampler, models, "tested")}


def told(episode: Episode) -> tuple[Any, ...]:
    return episode.actions.tobytes(), episode.q, episode.steps, episode.success, episode.cost.policy_rows


def _raises(rows: Tensor) -> None:
    if rows.any():
        raise ArithmeticError("no chunk\nfor this state")


def _exits(rows: Tensor) -> None:
    if rows.any():
        sys.exit("the policy has had enough")


FAULTS: dict[str, tuple[float | Callable[[Tensor], None], str]] = {
    "nan": (torch.nan, "the sampler returned NaN or infinity, sampler=tested task=toy episode="),
    "infinity": (torch.inf, "the sampler returned NaN or infinity, sampler=tested task=toy episode="),
    "raises": (_raises, "ArithmeticError: no chunk for this state (test_one_bad_moment.py:"),
    "exits": (_exits, "SystemExit: the policy has had enough (test_one_bad_moment.py:"),
}


class Faulty(ToyDenoiser):
    """It fails right of `right_of`, which some of the episodes reach, or start from."""

    right_of = 0.6

    def __init__(self, fault: float | Callable[[Tensor], None]) -> None:
        super().__init__()
        self.fault = fault

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        bad = context[:, 0] > self.right_of
        if callable(self.fault):
            self.fault(bad)
            return super().clean(x, t, context)
        return torch.where(bad[:, None, None], self.fault, super().clean(x, t, context))


class FaultyAtOnce(Faulty):
    """Its rows are decided as many at once as wait."""

    row_block = 1


@pytest.mark.parametrize("kind", [Faulty, FaultyAtOnce])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("batch", [1, 8])
def test_a_policy_that_fails_in_a_state_ends_the_episodes_that_reach_it(
    fault: str, kind: type[Faulty], batch: int
) -> None:
    what, message = FAULTS[fault]
    sampler = ToySampler(n=2)
    found = played(Models(kind(what), ToyCritic()), sampler, batch=batch)
    guilty = {number for number, episode in found.items() if episode.error is not None}
    assert len(found) == EPISODES
    assert 0 < len(guilty) < EPISODES
    assert all(str(found[number].error).startswith(message) for number in guilty)
    innocent = sorted(found.keys() - guilty)
    sound = played(Models(kind(lambda rows: None), ToyCritic()), sampler, batch=batch, only=innocent)
    assert [told(found[number]) for number in innocent] == [told(sound[number]) for number in innocent]


def test_innocent_rows_are_decided_in_blocks_of_the_policys_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decider, "latency_ms", lambda *_: 0.0)  # a decision of one row
    seen = set()

    class Watched(Faulty):
        def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
            seen.add(len(x))
            return super().clean(x, t, context)

    played(Models(Watched(_raises)), Unsteered(4))
    assert seen == {8}


def test_the_first_traceback_is_shown_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    played(Models(Faulty(_raises)), Unsteered(4))
    assert caplog.text.count("Traceback") == 1
    assert "sampler tested: the episode ends in an error, the others go on" in caplog.text


def test_a_critic_that_cannot_be_averaged_is_an_error_of_its_episode() -> None:
    class Huge(ToyCritic):
        def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
            q = super().q(actions, encoded).double()
            return torch.where(encoded[:, 0] > 0.6, 1.7e308, q)

    found = played(Models(ToyDenoiser(), Huge()), Unsteered(4))
    errors = [episode.error for episode in found.values() if episode.error is not None]
    assert 0 < len(errors) < EPISODES
    assert all("the critic returned NaN or infinity" in error for error in errors)


def test_actions_that_are_infinite_in_float32_are_an_error_of_their_episode() -> None:
    class Wide(ToyDenoiser):
        def unnormalise(self, actions: Tensor) -> np.ndarray:
            acts = super().unnormalise(actions).astype(np.float64)
            return np.where(acts[:, :1, :1] > 0.9, 1.7e308, acts)

    class Narrowing(ToyTask):
        def step(self, action: np.ndarray) -> Any:
            return super().step(action.astype(np.float32))

    found = played(Models(Wide()), Unsteered(4), task=Narrowing)
    errors = [episode.error for episode in found.values() if episode.error is not None]
    assert 0 < len(errors) < EPISODES
    assert set(errors) == {"the policy's unnormalise gave NaN or infinity for finite chunks"}


class Moody(ToyTask):
    """In episode 3 it does what `mood` names."""

    def __init__(self, mood: str) -> None:
        super().__init__()
        self.mood = mood

    def reset(self, key: EpisodeKey) -> None:
        super().reset(key)
        self.bad = key.episode == 3

    def state_hash(self) -> str:
        return 7 if self.bad and self.mood == "hash" else super().state_hash()  # type: ignore[return-value]

    def observe(self, request: ObservationRequest) -> Observation:
        seen = super().observe(request)
        if not self.bad:
            return seen
        position = np.asarray(seen["position"])
        return {
            "lacking": {"goal": position},
            "shape": {"position": np.zeros(5, np.float32)},
            "nan": {"position": np.full(2, np.nan, np.float32)},
            "objects": {"position": np.array([object(), object()])},
            "unpicklable": {"position": lambda: position},
            "late": seen if self._steps == 0 else {"goal": position},
        }.get(self.mood, seen)  # type: ignore[return-value]

    def step(self, action: np.ndarray) -> Any:
        if self.bad and self.mood == "exit":
            sys.exit(1)
        return super().step(action)


@pytest.mark.parametrize(
    ("mood", "workers", "batch"),
    [(mood, 0, 8) for mood in ("hash", "lacking", "shape", "nan", "objects", "unpicklable", "late", "exit")]
    + [("hash", 0, 1), ("lacking", 0, 1), ("unpicklable", 1, 4), ("exit", 1, 4)],
)
def test_a_task_that_misbehaves_in_one_episode_ends_that_one(mood: str, workers: int, batch: int) -> None:
    sampler, models = ToySampler(n=2), Models(ToyDenoiser(), ToyCritic())
    found, sound = (played(models, sampler, functools.partial(Moody, m), workers, batch) for m in (mood, ""))
    assert [number for number, episode in found.items() if episode.error is not None] == [3]
    assert all(told(found[number]) == told(sound[number]) for number in found if number != 3)


def test_a_policy_without_reasons_ends_every_episode_once() -> None:
    class Silent(ToyPolicy):
        def sample(self, observation: Observations, generators: Any, copies: int = 1) -> Tensor:
            raise UndecidedError({})

    found = played(Models(Silent()), Unsteered())
    assert len(found) == EPISODES
    assert all("UndecidedError" in str(episode.error) for episode in found.values())


STEERED: list[Sampler] = [QPilotsU(0.5, steps=4), QPilotsM(0.5, draws=2, steps=4)]
WITHOUT: list[Sampler] = [
    Unsteered(4),
    ValueGuided(0.5, steps=4),
    QGF(0.5, steps=4),
    QPilotsU(0.5, jacobian=False, steps=4),
]


class Drawn:
    """A posterior that depends on x by itself, so that `qpilots_m` has a gradient without the policy's."""

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        return clean + 0.1 * z + 0.02 * x


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("sampler", STEERED, ids=repr)
def test_a_denoiser_without_a_gradient_is_refused_in_one_line(mode: Any, sampler: Sampler) -> None:
    class Closed(ToyDenoiser):
        @mode()
        def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
            return super().clean(x, t, context)

    with pytest.raises(ModelError, match=r"the policy's `clean` has no gradient, which this sampler needs: it runs un"):
        played(Models(Closed(), ToyCritic(), Drawn()), sampler)
    open_ones = [played(Models(kind(), ToyCritic()), other) for kind in (Closed, ToyDenoiser) for other in WITHOUT]
    half = len(WITHOUT)
    for closed, opened in zip(open_ones[:half], open_ones[half:], strict=True):
        assert [told(episode) for episode in closed.values()] == [told(episode) for episode in opened.values()]


@pytest.mark.parametrize("sampler", [*STEERED, ValueGuided(0.5, steps=4), QGF(0.5, steps=4)], ids=repr)
def test_a_critic_or_posterior_without_a_gradient_is_refused(sampler: Sampler) -> None:
    class Closed(ToyCritic):
        @torch.no_grad()
        def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
            return super().q(actions, encoded)

    class ClosedDraws(Drawn):
        @torch.no_grad()
        def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
            return super().draw(z, x, t, clean, context)

    with pytest.raises(RunError, match="the critic's `q` has no gradient"):
        played(Models(ToyDenoiser(), Closed(), Drawn()), sampler)
    if isinstance(sampler, QPilotsM):
        with pytest.raises(RunError, match="the posterior's `draw` has no gradient"):
            played(Models(ToyDenoiser(), ToyCritic(), ClosedDraws()), sampler)


def test_a_context_made_under_inference_mode_is_refused_in_one_line() -> None:
    class Closed(ToyDenoiser):
        @torch.inference_mode()
        def encode(self, observation: Observations) -> Tensor:
            return super().encode(observation) * 1.0

        def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
            return super().clean(x * context[:, :1, None], t, context)

    with pytest.raises(ModelError, match=r"sampler tested differentiates what a model has made under inference_mode"):
        played(Models(Closed(), ToyCritic()), QPilotsU(0.5, steps=4))


class Global(ToyPolicy):
    """Its noise comes from torch's global generator."""

    def sample(self, observation: Observations, generators: Any, copies: int = 1) -> Tensor:
        chunks = super().sample(observation, generators, copies)
        return chunks + 0.1 * torch.randn(chunks.shape)


def test_noise_besides_the_generators_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    played(Models(Global()), Unsteered())
    assert caplog.text.count("sampler tested decides differently with equal generators") == 1
    caplog.clear()
    for models, sampler in ((Models(ToyPolicy()), Unsteered()), (Models(ToyDenoiser(), ToyCritic()), QPilotsU(0.5))):
        played(models, sampler)
    assert caplog.text == ""
