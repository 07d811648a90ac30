"""Batched decisions: from the observations of several episodes to action chunks and their cost."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from policies.policy import FrozenPolicy, UndecidedError
from sim_eval.foundation.errors import ModelError, RunError, in_one_line
from sim_eval.rollout.cost import NonFiniteQError, Rows, counted, described
from sim_eval.rollout.keys import noise_generator
from sim_eval.samplers.sampler import Models, Sampler, encode_for_critic, required_denoiser
from tasks.task import EpisodeKey, Observation

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
#: Relative and absolute difference of chunks that count as equal.
_SAME = 1e-3


class Waiting(Protocol):
    """A request that waits for a chunk. `origin` names it in errors."""

    @property
    def observation(self) -> Observation: ...

    @property
    def origin(self) -> str: ...

    def generator(self) -> torch.Generator:
        """A new generator of the chunk's noise, equal at each call."""
        ...


@dataclass(frozen=True)
class PendingDecision:
    """An episode that waits for its chunk number `decision`."""

    key: EpisodeKey
    decision: int
    observation: Observation

    @property
    def origin(self) -> str:
        return f"task={self.key.task} episode={self.key.episode}"

    def generator(self) -> torch.Generator:
        return noise_generator(self.key.noise_seed, self.decision)


@dataclass(frozen=True)
class Decision:
    """A chunk: actions (H, D) in the task's units and normalised, its cost in rows, and Q (None without a critic)."""

    actions: np.ndarray
    normalised: np.ndarray
    policy_rows: float
    critic_rows: float
    posterior_rows: float
    q: float | None


@dataclass(frozen=True)
class Undecided:
    """In the place of a result: what a model raised. `reason`: in one line."""

    error: Exception | SystemExit
    reason: str


def attempt(call: Callable[[], T]) -> T | Undecided:
    """The result of a call of the user's models, or what it raised: the error of an episode, not of the others."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        return Undecided(error, in_one_line(error))


class Decider:
    """Draws chunks with one sampler. `label` names the sampler in errors."""

    def __init__(self, sampler: Sampler, models: Models, label: str) -> None:
        self._sampler, self._policy, self._label = sampler, models.policy, label
        self._rows = Rows()
        self._models = counted(models, self._rows)
        self._works = self._told = False  # whether a row was decided, and a traceback shown
        self._compared = not models.policy.repeatable  # whether a decision was made twice
        self.unpaired = False  # whether it gave two chunks

    def decide_each(self, pending: Sequence[Waiting]) -> list[Decision | Undecided]:
        """`decide`, with the rows that fail kept from the others, whose chunks are what they are without them.

        Raises ModelError if every row meets one, and none was ever decided.
        """
        size = self._policy.row_block
        size = len(pending) if size == 1 else size
        outcomes: list[Decision | Undecided] = []
        for start in range(0, len(pending), size):
            outcomes += self._decide_apart(pending[start : start + size])
        failed = [outcome for outcome in outcomes if isinstance(outcome, Undecided)]
        self._works = self._works or len(failed) < len(outcomes)
        if not self._works and all(isinstance(outcome.error, ModelError) for outcome in failed):
            raise failed[0].error
        self._tell(failed)
        return outcomes

    def _decide_apart(self, rows: Sequence[Waiting]) -> list[Decision | Undecided]:
        """A decision, or why there is none, for each row of at most a block."""
        (block,) = decision_blocks(rows, self._policy.row_block)
        together = attempt(lambda: self._decide_block(block))
        if not isinstance(together, Undecided):
            return list(together[: len(rows)])
        error = together.error
        if isinstance(error, UndecidedError) and error.reasons:
            guilty = {row % len(rows): Undecided(error, why) for row, why in error.reasons.items()}
        elif len(rows) == 1:
            return [together]
        else:
            alone = [self._decide_apart([row])[0] for row in rows]
            guilty = {row: outcome for row, outcome in enumerate(alone) if isinstance(outcome, Undecided)}
            if self._policy.row_block > 1 or not guilty:
                return alone
        others = [waiting for row, waiting in enumerate(rows) if row not in guilty]
        innocent = iter(self._decide_apart(others) if others else [])  # in a batch of their number
        return [guilty[row] if row in guilty else next(innocent) for row in range(len(rows))]

    def _tell(self, failed: Sequence[Undecided]) -> None:
        """Show the first defect's traceback: an episode's error is one line."""
        defects = [each.error for each in failed if not isinstance(each.error, RunError | UndecidedError)]
        if defects and not self._told:
            self._told = True
            _LOG.warning("sampler %s: the episode ends in an error, the others go on", self._label, exc_info=defects[0])

    def decide(self, pending: Sequence[Waiting]) -> list[Decision]:
        """One chunk for each, decided in blocks of exactly the policy's `row_block`.

        Raises RunError for NaN, infinity or a wrong shape from the sampler or the critic, and UndecidedError, by
        position in `pending`, if the policy has no chunk for some.
        """
        decisions: list[Decision] = []
        for block in decision_blocks(pending, self._policy.row_block):
            try:
                decided = self._decide_block(block)
            except UndecidedError as error:
                count = min(len(block), len(pending) - len(decisions))
                reasons = {len(decisions) + row % count: why for row, why in error.reasons.items()}
                raise UndecidedError(reasons) from None
            decisions += decided[: len(pending) - len(decisions)]
        return decisions

    def _decide_block(self, batch: Sequence[Waiting]) -> list[Decision]:
        """One chunk for each row of a block, those that fill it up included."""
        observation, rows, size = stacked([waiting.observation for waiting in batch]), self._rows, len(batch)
        rows.clear()
        try:
            chunks = self._sampler(self._models, observation, [waiting.generator() for waiting in batch])
            counts = (rows.policy / size, rows.critic / size, rows.posterior / size)
            self._check(chunks, batch)
            chunks = chunks.detach()
            q = self._values(chunks, observation)
        except NonFiniteQError as error:
            culprit = batch[error.row // max(error.rows // size, 1) % size]
            raise RunError(f"the critic returned NaN or infinity, {self._where(culprit)}") from None
        except RuntimeError as error:
            if "nference tensor" not in str(error):  # torch has no type for it
                raise
            raise ModelError(
                f"sampler {self._label} differentiates what a model has made under inference_mode ({error}); accepted: "
                "torch.no_grad in `encode`, and neither in `clean` and `q`"
            ) from None
        actions, normalised = unnormalised(self._policy, chunks), chunks.float().cpu().numpy()
        return [
            Decision(actions[row].copy(), normalised[row].copy(), *counts, None if q is None else q[row])
            for row in range(size)
        ]

    def latency_ms(self, waiting: Waiting) -> float:
        """Wall time of a decision for one episode alone, unpadded, as on a robot; waits for the device to finish.

        The first is made once more, untimed: stderr is told if the models draw noise besides the generators'.
        """
        observation = stacked([waiting.observation])
        generators = [waiting.generator()]
        self._synchronise()
        start = time.perf_counter()
        chunk = self._sampler(self._models, observation, generators)
        self._synchronise()
        elapsed_ms = 1e3 * (time.perf_counter() - start)
        if not self._compared:
            self._compared = True
            self._compare(chunk, self._sampler(self._models, dict(observation), [waiting.generator()]))
        return elapsed_ms

    @property
    def compares(self) -> bool:
        """Whether the next decision whose latency is measured will be made twice."""
        return not self._compared

    def _compare(self, chunk: Tensor, again: Tensor) -> None:
        """Warn if two decisions on one observation with equal generators differ by more than rounding on a GPU."""
        self.unpaired = not torch.allclose(chunk.detach(), again.detach(), _SAME, _SAME, equal_nan=True)
        if self.unpaired:
            _LOG.warning(
                "warning: sampler %s decides differently with equal generators: the policy or the sampler draws noise "
                "of its own, as torch's global generator gives it. Starts are paired, this noise is not, and the run "
                "cannot be repeated; accepted: randomness from the generators passed in",
                self._label,
            )

    def _synchronise(self) -> None:
        if self._policy.device.type == "cuda":
            torch.cuda.synchronize(self._policy.device)

    def _values(self, chunks: Tensor, observation: dict[str, Any]) -> list[float] | None:
        models = self._models
        if models.critic is None:
            return None
        with torch.no_grad():
            # The counted denoiser has kept this batch's context from the sampler's call.
            context = required_denoiser(models).encode(observation) if models.critic.uses_features else None
            values: list[float] = models.critic.q(chunks, encode_for_critic(models, observation, context)).tolist()
        return values

    def _check(self, chunks: Tensor, batch: Sequence[Waiting]) -> None:
        expected = (len(batch), self._policy.horizon, self._policy.action_dim)
        if not isinstance(chunks, Tensor) or tuple(chunks.shape) != expected:
            raise ModelError(f"sampler {self._label} returned {described(chunks)}, expected a tensor {expected}")
        bad = ~torch.isfinite(chunks).flatten(1).all(1)
        if bad.any():
            culprit = batch[int(bad.nonzero()[0, 0])]
            raise RunError(f"the sampler returned NaN or infinity, {self._where(culprit)}")

    def _where(self, waiting: Waiting) -> str:
        return f"sampler={self._label} {waiting.origin}"


def one_torch_thread(policy: FrozenPolicy) -> bool:
    """Whether torch should use one thread: small batches gain nothing from more, and the workers need the cores.

    Not on a GPU, nor for policies with expensive rows, which the workers wait for.
    """
    return policy.device.type == "cpu" and policy.row_block > 1


def what_to_observe(models: Models) -> ObservationRequest:
    """The policy's request, with the vectors that the critic reads added."""
    request = models.policy.request
    read_by_critic = models.critic.observations if models.critic else ()
    return dataclasses.replace(request, names=tuple(dict.fromkeys((*request.names, *read_by_critic))))


def decision_blocks(rows: Sequence[T], size: int) -> list[list[T]]:
    """The rows in blocks of exactly `size`; the last is filled up with its own rows, repeated.

    torch may round a row differently in batches of another number of rows, even in multiples of 8. In blocks of one
    size a row's result does not depend on how many others wait. With size 1, for rows too expensive to fill up, all
    rows are one block.
    """
    if size == 1:
        return [list(rows)]
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [[block[row % len(block)] for row in range(size)] for block in blocks]


def unnormalised(policy: FrozenPolicy, chunks: Tensor) -> np.ndarray:
    """Normalised chunks (B, H, D) as the policy's actions.

    Raises ModelError for another shape, RunError for NaN and what is infinite in float32.
    """
    actions = policy.unnormalise(chunks)
    if not isinstance(actions, np.ndarray) or actions.shape != chunks.shape:
        raise ModelError(
            f"the policy's unnormalise gave {described(actions)} for chunks {tuple(chunks.shape)}; "
            "accepted: an array of the same shape"
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(actions.astype(np.float32, copy=False)).all()
    if not finite:
        raise RunError("the policy's unnormalise gave NaN or infinity for finite chunks")
    return actions


def stacked(observations: Sequence[Observation]) -> dict[str, Any]:
    """Stack the observations of B episodes: arrays to (B, ...), strings to lists of B."""
    return {
        name: [observation[name] for observation in observations]
        if isinstance(value, str)
        else np.stack([observation[name] for observation in observations])
        for name, value in observations[0].items()
    }
