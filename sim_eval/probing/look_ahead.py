"""Exact look-ahead: every draw of the frozen policy is executed from the saved state, and the best one is kept.

It shows how far choosing among draws can get: a critic must guess where a chunk leads, the simulator knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from policies.observation import ObservationRequest
from policies.policy import Denoiser, Policy
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.cost import Rows, counted, described
from sim_eval.rollout.environment import Command, End, Execute, Failed, Foreseen, LookAhead, Ran, Reply, Reset, Started
from sim_eval.rollout.episodes import check_fit, one_thread
from sim_eval.rollout.inference import PendingDecision, Waiting, decision_blocks, stacked, unnormalised
from sim_eval.rollout.pool import Pool
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey, Observation


class Value(Protocol):
    """V(s): how good a state is; only its order counts."""

    @property
    def observations(self) -> tuple[str, ...]:
        """The vectors that it reads."""
        ...

    def __call__(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Arrays (B, n), by name, to V (B,)."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A played episode. If it has an `error`, the other fields say how far it got, and `success` means nothing.

    `steps`: control steps of the episode. `simulated`: all that the simulator executed, the look-ahead included.
    """

    key: EpisodeKey
    success: bool
    steps: int
    simulated: int
    error: str | None


@dataclass
class _Slot:
    """An episode under way. It waits for a chunk if it has an `observation`, else to execute one of its `chunks`."""

    key: EpisodeKey
    decision: int = 0
    steps: int = 0
    simulated: int = 0
    observation: Observation | None = None
    chunks: Sequence[np.ndarray] = ()  # n of (h, D)
    ends: tuple[End, ...] = ()

    def take(self, reply: Reply) -> Outcome | None:
        """Record the reply; returns the outcome if the episode ended, else None."""
        if isinstance(reply, Started):
            self.observation = reply.observation
        elif isinstance(reply, Foreseen):
            self.ends, self.observation = reply.ends, None
            self.simulated += sum(end.steps for end in reply.ends)
        elif isinstance(reply, Ran):
            self.decision, self.observation = self.decision + 1, reply.observation
            self.steps, self.simulated = self.steps + reply.steps, self.simulated + reply.steps
            if reply.observation is None:
                return self._outcome(reply.success, None)
        else:
            assert isinstance(reply, Failed)
            return self._outcome(False, reply.error)
        return None

    def _outcome(self, success: bool, error: str | None) -> Outcome:
        return Outcome(self.key, success, self.steps, self.simulated, error)


def look_ahead(
    pool: Pool, keys: Iterable[EpisodeKey], policy: Policy | Denoiser, value: Value, n: int, steps: int
) -> Iterator[Outcome]:
    """Play every key once with the best of `n` chunks at each decision, and yield outcomes as episodes end.

    The best chunk is the one that succeeds soonest; if none succeeds, the one that leads to the highest V. The first
    draw is the unsteered one, so that n = 1 plays the unsteered episode. `steps`: denoising steps. An outcome depends
    neither on the number of slots nor on that of workers. Raises RunError if the task cannot be built or has no `save`
    and `restore`, if models do not fit it, and for NaN or infinity; UndecidedError if the policy has no chunk.
    """
    waiting_keys, active = iter(keys), dict[int, _Slot]()
    with one_thread(policy):
        while True:
            commands = _decisions(active, policy, value, n, steps)
            commands |= _starts(pool, active, waiting_keys, policy.request)
            if not commands:
                return
            for number, reply in pool.exchange(commands).items():
                if isinstance(reply, Started):
                    check_fit(reply.spec, Models(policy))
                outcome = active[number].take(reply)
                if outcome is not None:
                    del active[number]
                    yield outcome


def draws(policy: Policy | Denoiser, pending: Sequence[Waiting], n: int, steps: int) -> np.ndarray:
    """`n` unsteered chunks for each of B, (B, n, H, D), in the task's units.

    They are drawn one after the other in blocks of `row_block` rows, so that the first rounds as it does unsteered.
    """
    once = counted(Models(policy), Rows()).policy  # it encodes a batch of observations once
    drawn = []
    for batch in decision_blocks(pending, policy.row_block):
        observation, generators = stacked([row.observation for row in batch]), [row.generator() for row in batch]
        chunks = [draw_unsteered(once, observation, generators, steps)[0].detach() for _ in range(n)]
        drawn.append(np.stack([unnormalised(policy, chunk) for chunk in chunks], axis=1))
    return np.concatenate(drawn)[: len(pending)]


def best(ends: Sequence[End], value: Value) -> int:
    """The number of the best end, the first of equals. Raises RunError for NaN or infinity and for a wrong shape."""
    successes = [number for number, end in enumerate(ends) if end.success]
    if successes:
        return min(successes, key=lambda number: ends[number].steps)
    # An episode that ended without success can get no further.
    live = {number: end.observation for number, end in enumerate(ends) if end.observation is not None}
    if not live:
        return 0
    values = value(stacked(list(live.values())))
    if getattr(values, "shape", None) != (len(live),) or not np.isfinite(values).all():
        raise RunError(f"the value gave {described(values)}; accepted: an array ({len(live)},) without NaN or infinity")
    return list(live)[int(np.argmax(values))]


def _starts(
    pool: Pool, active: dict[int, _Slot], keys: Iterator[EpisodeKey], request: ObservationRequest
) -> dict[int, Command]:
    """Fill the free slots with the next keys."""
    free = [number for number in range(pool.slots) if number not in active]
    started = {number: _Slot(key) for number, key in zip(free, keys, strict=False)}
    active |= started
    return {number: Reset(slot.key, request) for number, slot in started.items()}


def _decisions(
    active: Mapping[int, _Slot], policy: Policy | Denoiser, value: Value, n: int, steps: int
) -> dict[int, Command]:
    """Look ahead where a chunk is waited for, and execute the best one where that is done."""
    commands: dict[int, Command] = {
        number: Execute(slot.chunks[best(slot.ends, value)])
        for number, slot in active.items()
        if slot.observation is None
    }
    waiting = {number: slot for number, slot in active.items() if slot.observation is not None}
    if waiting:
        pending = [_pending(slot) for slot in waiting.values()]
        for (number, slot), chunks in zip(waiting.items(), draws(policy, pending, n, steps), strict=True):
            executed = chunks[:, : policy.execute]
            slot.chunks = list(executed)
            commands[number] = LookAhead(executed, value.observations)
    return commands


def _pending(slot: _Slot) -> PendingDecision:
    assert slot.observation is not None
    return PendingDecision(slot.key, slot.decision, slot.observation)
