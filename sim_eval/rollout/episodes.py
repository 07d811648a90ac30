"""Lockstep rollouts: many episodes at once, one policy batch a round, finished slots refilled."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from policies.denoiser import Denoiser
from sim_eval.errors import RunError
from sim_eval.rollout.environment import Command, Execute, Failed, Ran, Reply, Reset, Started
from sim_eval.rollout.inference import Decider, Decision, Due
from sim_eval.rollout.pool import Pool
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey, Observation


@dataclass(frozen=True)
class Episode:
    """One finished episode. With an `error`, the other fields tell how far it came, and `success` means nothing.

    `actions`: (steps, D) float32 as executed; `wall_s`: seconds from reset to end, waiting for others included;
    `execute`: steps from one decision to the next; `decision_ms`: one decision alone, measured at the first; rows:
    totals over the episode; `q`: the critic's value of the chunk at each decision, not counted in `critic_rows`, None
    without a critic; `assets`: as in `Task`; `observations`: name to (steps + 1, n), the last row being where the
    episode ended, where they were kept and nothing went wrong.
    """

    key: EpisodeKey
    state_hash: str | None
    assets: str | None
    success: bool
    steps: int
    error: str | None
    wall_s: float
    decisions: int
    execute: int
    decision_ms: float | None
    policy_rows: int
    critic_rows: int
    posterior_rows: int
    q: tuple[float, ...] | None
    actions: np.ndarray
    observations: dict[str, np.ndarray] | None = None

    @property
    def mean_q(self) -> float | None:
        """The mean of `q`; None without a critic."""
        return None if self.q is None else float(np.mean(self.q))


@dataclass
class _Slot:
    """An episode under way."""

    key: EpisodeKey
    keep: bool
    execute: int
    start: float = field(default_factory=time.perf_counter)
    state_hash: str | None = None
    assets: str | None = None
    latency_ms: float | None = None
    observations: list[Observation] = field(default_factory=list)  # all if `keep`, else the latest alone
    steps: int = 0
    actions: list[np.ndarray] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def due(self) -> Due:
        return Due(self.key, len(self.decisions), self.observations[-1])

    def decided(self, decision: Decision) -> Command:
        self.decisions.append(decision)
        return Execute(decision.actions, every=self.keep)

    def take(self, reply: Reply) -> Episode | None:
        """Note the reply; the finished episode if it ended."""
        if isinstance(reply, Started):
            self.state_hash, self.assets = reply.state_hash, reply.assets
            self.observations.append(reply.observation)
            return None
        if isinstance(reply, Ran):
            self.actions.append(self.decisions[-1].actions[: reply.steps])
            self.steps += reply.steps
            if not self.keep:
                self.observations.clear()
            self.observations.extend(reply.observations)
            return self._finish(reply.success, None) if reply.done else None
        assert isinstance(reply, Failed)
        return self._finish(False, reply.error)

    def _finish(self, success: bool, error: str | None) -> Episode:
        actions = np.concatenate(self.actions) if self.actions else np.zeros((0, 0), np.float32)
        decisions = self.decisions
        values = tuple(decision.q for decision in decisions if decision.q is not None)
        return Episode(
            key=self.key,
            state_hash=self.state_hash,
            assets=self.assets,
            success=success,
            steps=self.steps,
            error=error,
            wall_s=time.perf_counter() - self.start,
            decisions=len(decisions),
            execute=self.execute,
            decision_ms=self.latency_ms,
            policy_rows=round(sum(decision.policy_rows for decision in decisions)),
            critic_rows=round(sum(decision.critic_rows for decision in decisions)),
            posterior_rows=round(sum(decision.posterior_rows for decision in decisions)),
            q=values or None,
            actions=actions,
            observations=self._stacked() if self.keep and error is None else None,
        )

    def _stacked(self) -> dict[str, np.ndarray]:
        return {name: np.stack([seen[name] for seen in self.observations]) for name in self.observations[0]}


def run_episodes(
    pool: Pool,
    keys: Iterable[EpisodeKey],
    sampler: Sampler,
    models: Models,
    label: str,
    keep_observations: bool = False,
) -> Iterator[Episode]:
    """Run every key once and yield episodes as they finish, up to `pool.slots` at a time.

    What an episode yields depends on its key, the sampler and the models alone, neither on the number of slots nor on
    where the environments live. Raises RunError when the task and the policy do not fit, when the task cannot be built,
    and when the sampler or the critic yields NaN or infinity; `label` names the sampler there.
    """
    pending = iter(keys)
    active: dict[int, _Slot] = {}
    decider = Decider(sampler, models, label)
    with _one_thread():
        while True:
            commands = _decisions(active, decider)
            for slot in range(pool.slots):
                if slot not in active and (key := next(pending, None)) is not None:
                    active[slot] = _Slot(key, keep_observations, models.denoiser.execute)
                    commands[slot] = Reset(key)
            if not commands:
                return
            for slot, reply in pool.exchange(commands).items():
                if isinstance(reply, Started):
                    _check_fit(reply, models.denoiser, active[slot].key)
                episode = active[slot].take(reply)
                if episode is not None:
                    del active[slot]
                    yield episode


def _decisions(active: dict[int, _Slot], decider: Decider) -> dict[int, Command]:
    """Every active episode is due: lockstep leaves none in the middle of a chunk."""
    if not active:
        return {}
    due = [slot.due() for slot in active.values()]
    decisions = decider.decide(due)
    for slot, one in zip(active.values(), due, strict=True):
        if slot.latency_ms is None:
            slot.latency_ms = decider.latency_ms(one)
    return {index: slot.decided(decision) for (index, slot), decision in zip(active.items(), decisions, strict=True)}


def _check_fit(started: Started, denoiser: Denoiser, key: EpisodeKey) -> None:
    if started.action_dim != denoiser.action_dim:
        raise RunError(
            f"the policy's actions have {denoiser.action_dim} dimensions, those of task {key.task} have "
            f"{started.action_dim}: the checkpoint is for another task"
        )
    for name, size in denoiser.observation_sizes.items():
        if started.observation_sizes.get(name) != size:
            raise RunError(
                f"the policy expects observation {name} with {size} numbers, task {key.task} gives "
                f"{started.observation_sizes.get(name, 'none')}: the checkpoint is for another task"
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: small batches gain nothing from more, and the workers need the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
