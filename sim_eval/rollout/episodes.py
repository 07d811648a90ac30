"""Lockstep rollouts: many episodes at once, one policy batch per round; a finished episode's slot is refilled."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from policies.observation import ObservationRequest
from policies.policy import FrozenPolicy, UndecidedError
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import Command, Execute, Failed, Ran, Reply, Reset, Started
from sim_eval.rollout.inference import (
    Decider,
    Decision,
    PendingDecision,
    Undecided,
    attempt,
    one_torch_thread,
    what_to_observe,
)
from sim_eval.rollout.pool import Pool
from sim_eval.rollout.result import NOTHING, Cost, EpisodeResult, Spent
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey, Observation, TaskSpec


@dataclass(frozen=True)
class Keep:
    """The data that an episode keeps for training, besides its outcome.

    trace: vectors to keep at every control step. decisions: whether to keep each decision's observation. limit: control
    steps after which it is cut short, a failure; None leaves its end to the task. timed: whether its first decision is
    made once more, for it alone, to measure the latency.
    """

    trace: tuple[str, ...] = ()
    decisions: bool = False
    limit: int | None = None
    timed: bool = True


#: Nothing besides the outcome.
OUTCOME = Keep()


@dataclass(frozen=True, kw_only=True)
class Episode(EpisodeResult):
    """A finished episode.

    actions: (steps, D) float32, as executed. first: what the first decision saw, with the vectors that the critic
    reads. trace: name to (steps + 1, n); the last row is the final state. seen: each decision's observation. Both are
    empty unless `Keep` asks for them. rewards: the task's of each step. timed_out: whether a step limit alone
    ended it. unpaired: whether two decisions with equal generators were found to differ. spent: time of cores.
    """

    key: EpisodeKey
    actions: np.ndarray
    first: Observation = field(default_factory=dict)
    trace: dict[str, np.ndarray] = field(default_factory=dict)
    seen: tuple[Observation, ...] = ()
    rewards: tuple[float, ...] = ()
    timed_out: bool = False
    unpaired: bool = False
    spent: Spent = NOTHING


def jerk(actions: np.ndarray) -> float | None:
    """How jerky actions (steps, D) are: the root mean square of their third difference from step to step.

    Over all steps and all dimensions but the last, which is the gripper, in the task's units of an action. None for
    fewer than 4 steps, or where the gripper is all there is.
    """
    differences = np.diff(actions[:, :-1].astype(np.float64), n=3, axis=0)
    return float(np.sqrt(np.mean(differences**2))) if differences.size else None


def action_path(actions: np.ndarray) -> float | None:
    """How far actions (steps, D) command the robot: the sum over steps of their Euclidean norm.

    Of all dimensions but the last, which is the gripper, in the task's units of an action. Where actions are shifts of
    the hand, this is the length of the commanded path, turns included; where they are torques, the effort. None without
    a step, or where the gripper is all there is.
    """
    moved = actions[:, :-1].astype(np.float64)
    return float(np.linalg.norm(moved, axis=1).sum()) if moved.size else None


@dataclass
class _Slot:
    """An episode under way."""

    key: EpisodeKey
    keep: Keep
    execute: int
    start: float = field(default_factory=time.perf_counter)
    state_hash: str | None = None
    instruction: str | None = None
    first: Observation = field(default_factory=dict)
    latency_ms: float | None = None
    seen: list[Observation] = field(default_factory=list)  # by every decision if `keep` asks, else by the next alone
    trace: list[Observation] = field(default_factory=list)
    steps: int = 0
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    goals_met: list[float] = field(default_factory=list)
    control_hz: float = 0.0
    timed_out: bool = False
    decisions: list[Decision] = field(default_factory=list)
    unpaired: bool = False
    spent: Spent = NOTHING

    def pending(self) -> PendingDecision:
        return PendingDecision(self.key, len(self.decisions), self.seen[-1])

    def decided(self, decision: Decision) -> Command:
        self.decisions.append(decision)
        return Execute(decision.actions[: self.execute])

    def take(self, reply: Reply) -> Episode | None:
        """Record the reply; returns the finished episode if it ended, else None."""
        if isinstance(reply, Started | Ran):
            self.spent = self.spent.plus(reply.spent)
        if isinstance(reply, Started):
            self.state_hash, self.instruction = reply.state_hash, reply.spec.instruction
            self.control_hz = reply.spec.control_hz
            self.first = reply.observation
            self.seen.append(reply.observation)
            self.trace.append(reply.trace)
            return None
        if isinstance(reply, Ran):
            self.actions.append(self.decisions[-1].actions[: reply.steps])
            self.steps += reply.steps
            self.trace.extend(reply.trace)
            self.rewards.extend(reply.rewards)
            self.goals_met.extend(share for share in reply.goals_met if share is not None)
            self.timed_out = reply.timed_out
            if reply.observation is None:
                return self._finish(reply.success, None)
            if not self.keep.decisions:
                self.seen.clear()
            self.seen.append(reply.observation)
            return None
        assert isinstance(reply, Failed)
        return self.fail(reply.error)

    def fail(self, error: str) -> Episode:
        """The episode, ended by an error."""
        return self._finish(False, error)

    def _finish(self, success: bool, error: str | None) -> Episode:
        decisions = self.decisions
        values = [decision.q for decision in decisions if decision.q is not None]
        actions = np.concatenate(self.actions) if self.actions else np.zeros((0, 0), np.float32)
        return Episode(
            key=self.key,
            state_hash=self.state_hash,
            success=success,
            steps=self.steps,
            error=error,
            wall_s=round(time.perf_counter() - self.start, 3),
            decisions=len(decisions),
            execute=self.execute,
            cost=Cost(
                policy_rows=round(sum(decision.policy_rows for decision in decisions)),
                critic_rows=round(sum(decision.critic_rows for decision in decisions)),
                posterior_rows=round(sum(decision.posterior_rows for decision in decisions)),
                decision_ms=None if self.latency_ms is None else round(self.latency_ms, 3),
            ),
            mean_q=float(np.mean(values)) if values else None,
            q=values or None,
            instruction=self.instruction,
            jerk=jerk(actions),
            action_path=action_path(actions),
            time_to_success=self.steps / self.control_hz if success and self.control_hz > 0 else None,
            goals_met=self.goals_met[-1] if self.goals_met else None,
            best_goals_met=max(self.goals_met, default=None),
            actions=actions,
            first=self.first,
            trace={name: np.stack([noted[name] for noted in self.trace]) for name in self.keep.trace if self.trace},
            seen=tuple(self.seen) if self.keep.decisions else (),
            rewards=tuple(self.rewards),
            timed_out=self.timed_out,
            unpaired=self.unpaired,
            spent=self.spent,
        )


def run_episodes(
    pool: Pool,
    keys: Iterable[EpisodeKey | None],
    sampler: Sampler,
    models: Models,
    label: str,
    keep: Keep = OUTCOME,
) -> Iterator[Episode]:
    """Run every key once, up to `pool.slots` at a time, and yield episodes as they finish.

    None in the place of a key: there is none at the moment, though one may follow while episodes are under way.

    An episode's result depends only on its key, the sampler and the models, not on the number of slots or worker
    processes. What the task or a model raises in an episode, NaN and infinity are that episode's error. Raises RunError
    if no episode can run: the task cannot be built, or the models do not fit the task or their interface; `label` names
    the sampler in errors.
    """
    waiting_keys, request = iter(keys), what_to_observe(models)
    active: dict[int, _Slot] = {}
    decider = Decider(sampler, models, label)
    with one_thread(models.policy):
        while True:
            commands, ended = _decisions(active, decider)
            yield from ended
            commands |= _starts(pool, active, waiting_keys, models.policy.execute, request, keep)
            if not commands:
                return
            for slot, reply in pool.exchange(commands).items():
                if isinstance(reply, Started):
                    check_fit(reply.spec, models)
                episode = active[slot].take(reply)
                if episode is not None:
                    del active[slot]
                    yield episode


def ended_by(error: str, key: EpisodeKey, execute: int) -> Episode:
    """An episode that an error ended before anything of it is known."""
    return _Slot(key, Keep(), execute).fail(error)


def _starts(
    pool: Pool,
    active: dict[int, _Slot],
    keys: Iterator[EpisodeKey | None],
    execute: int,
    request: ObservationRequest,
    keep: Keep,
) -> dict[int, Command]:
    """Fill the free slots with the next keys."""
    commands: dict[int, Command] = {}
    for slot in range(pool.slots):
        if slot not in active and (key := next(keys, None)) is not None:
            active[slot] = _Slot(key, keep, execute)
            commands[slot] = Reset(key, request, keep.trace, keep.limit)
    return commands


def _decisions(active: dict[int, _Slot], decider: Decider) -> tuple[dict[int, Command], list[Episode]]:
    """The next chunk of every active episode, and the episodes that end as there is none for them.

    In lockstep, all active episodes wait for a chunk. Those that end are taken from `active`.
    """
    commands: dict[int, Command] = {}
    ended: list[Episode] = []
    pending = {index: slot.pending() for index, slot in active.items()}
    begin = time.perf_counter()
    decided = decider.decide_each(list(pending.values())) if pending else []
    each = Spent(deciding=(time.perf_counter() - begin) / max(len(pending), 1))
    for (index, waiting), decision in zip(pending.items(), decided, strict=True):
        slot = active[index]
        slot.spent = slot.spent.plus(each)
        failed = decision if isinstance(decision, Undecided) else _time(slot, waiting, decider)
        if failed is not None:
            ended.append(active.pop(index).fail(failed.reason))
        elif not isinstance(decision, Undecided):
            commands[index] = slot.decided(decision)
    return commands, ended


def _time(slot: _Slot, waiting: PendingDecision, decider: Decider) -> Undecided | None:
    """Measure the episode's latency, unless it is known or not asked for; returns what the models raised.

    The first is measured in any case, for it also tells whether decisions can be repeated.
    """
    if slot.latency_ms is not None or not (slot.keep.timed or decider.compares):
        return None
    measured = attempt(lambda: decider.latency_ms(waiting))
    if isinstance(measured, Undecided):  # a server may fail now and then: it is measured at the next decision
        return None if isinstance(measured.error, UndecidedError) else measured
    slot.latency_ms, slot.unpaired = measured, decider.unpaired
    return None


def check_fit(spec: TaskSpec, models: Models) -> None:
    """Raise RunError if the policy's actions, or a model's observations, are not the task's."""
    policy = models.policy
    if spec.action.shape != (policy.action_dim,):
        raise RunError(
            f"the policy's actions have {policy.action_dim} dimensions, those of task {spec.name} have "
            f"{spec.action.shape[0]}: the checkpoint is for another task"
        )
    expected = [("policy", policy.observation_sizes)]
    if models.critic is not None:
        expected.append(("critic", models.critic.observation_sizes))
    for who, sizes in expected:
        for name, size in sizes.items():
            offered = spec.observations.get(name)
            if offered is None or offered.shape != (size,):
                raise RunError(
                    f"the {who} expects observation {name} with {size} numbers, task {spec.name} gives "
                    f"{'none' if offered is None else offered.shape[0]}: the checkpoint is for another task"
                )


@contextmanager
def one_thread(policy: FrozenPolicy) -> Iterator[None]:
    """One torch thread, where `one_torch_thread` says so."""
    threads = torch.get_num_threads()
    if one_torch_thread(policy):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
