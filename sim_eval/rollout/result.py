"""The outcome of an episode. Loads no torch, since processes that only draw read records too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Spent(NamedTuple):
    """Seconds of a core that an episode took for simulating, for drawing what decisions see, and for deciding.

    Of a decision that several episodes wait for, each has an equal part.
    """

    simulating: float = 0.0
    drawing: float = 0.0
    deciding: float = 0.0

    def plus(self, other: Spent) -> Spent:
        return Spent(*(mine + others for mine, others in zip(self, other, strict=True)))


NOTHING = Spent()


@dataclass(frozen=True)
class Cost:
    """The cost of one episode's decisions: total rows that each model evaluated, and the milliseconds of a decision.

    `decision_ms`: of the first decision, made for this episode alone; None if it was not timed. `extra`: fields of
    other versions of a stored record.
    """

    policy_rows: int
    critic_rows: int
    posterior_rows: int
    decision_ms: float | None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went. If it has an `error`, the other fields say how far it got, and `success` means nothing.

    steps: control steps. wall_s: seconds from reset to end, including the wait for other episodes.
    execute: control steps per decision.
    q: the critic's value of the chunk at each decision, not counted in `cost`, and its mean; None without a critic.
    instruction: the task's. jerk, action_path: of the executed actions, see `sim_eval.rollout.episodes`.
    time_to_success: seconds of simulated time until success, `steps` over the task's control steps a second; None
    unless it succeeded. A Gymnasium environment that names no rate counts 20 steps a second.
    goals_met, best_goals_met: the share of the goal's predicates that held at the end, and the highest after any step,
    fractions; None for a task without predicates. LIBERO's tasks and those of OGBench's arm have some.
    A field added later needs a default, for records without it.
    """

    state_hash: str | None
    success: bool
    steps: int
    error: str | None
    wall_s: float
    decisions: int
    execute: int
    cost: Cost
    mean_q: float | None
    q: list[float] | None
    instruction: str | None = None
    jerk: float | None = None
    action_path: float | None = None
    time_to_success: float | None = None
    goals_met: float | None = None
    best_goals_met: float | None = None
