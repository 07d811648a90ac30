"""Batched decisions: from the observations of several episodes to action chunks and their cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from sim_eval.errors import RunError
from sim_eval.rollout.cost import NonFiniteQError, Rows, counted, described
from sim_eval.rollout.keys import noise_generator
from sim_eval.samplers.sampler import Models, Sampler, encode_for_critic, required_denoiser
from tasks.task import EpisodeKey, Observation


@dataclass(frozen=True)
class PendingDecision:
    """An episode that waits for its chunk number `decision`."""

    key: EpisodeKey
    decision: int
    observation: Observation


@dataclass(frozen=True)
class Decision:
    """An episode's next chunk: actions (h, D) in the task's units, its cost in rows, and Q (None without a critic)."""

    actions: np.ndarray
    policy_rows: float
    critic_rows: float
    posterior_rows: float
    q: float | None


class Decider:
    """Draws chunks with one sampler. `label` names the sampler in errors."""

    def __init__(self, sampler: Sampler, models: Models, label: str) -> None:
        self._sampler, self._policy, self._label = sampler, models.policy, label
        self._rows = Rows()
        self._models = counted(models, self._rows)

    def decide(self, pending: Sequence[PendingDecision]) -> list[Decision]:
        """One chunk for each. Raises RunError for NaN, infinity or a wrong shape from the sampler or the critic."""
        # Repeated rows pad the batch, so that a row's result does not depend on how many episodes run.
        size = -(-len(pending) // self._policy.row_block) * self._policy.row_block
        padded = [pending[row % len(pending)] for row in range(size)]
        observation, rows = stacked([waiting.observation for waiting in padded]), self._rows
        rows.clear()
        try:
            chunks = self._sampler(self._models, observation, _generators(padded))
            counts = (rows.policy / size, rows.critic / size, rows.posterior / size)
            self._check(chunks, padded)
            chunks = chunks.detach()
            q = self._values(chunks, observation)
        except NonFiniteQError as error:
            culprit = padded[error.row // max(error.rows // size, 1) % size].key
            raise RunError(f"the critic returned NaN or infinity, {_where(self._label, culprit)}") from None
        actions = self._policy.unnormalise(chunks)
        if actions.shape != chunks.shape or not np.isfinite(actions).all():
            raise RunError(
                f"the policy's unnormalise gave {described(actions)} for chunks {tuple(chunks.shape)}; "
                "accepted: an array of the same shape without NaN or infinity"
            )
        actions = actions[:, : self._policy.execute]
        return [Decision(actions[row].copy(), *counts, None if q is None else q[row]) for row in range(len(pending))]

    def latency_ms(self, waiting: PendingDecision) -> float:
        """Wall time of a decision for one episode alone, unpadded, as on a robot; waits for the device to finish."""
        observation, generators = stacked([waiting.observation]), _generators([waiting])
        self._synchronise()
        start = time.perf_counter()
        self._sampler(self._models, observation, generators)
        self._synchronise()
        return 1e3 * (time.perf_counter() - start)

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

    def _check(self, chunks: Tensor, padded: Sequence[PendingDecision]) -> None:
        expected = (len(padded), self._policy.horizon, self._policy.action_dim)
        if not isinstance(chunks, Tensor) or tuple(chunks.shape) != expected:
            raise RunError(f"sampler {self._label} returned {described(chunks)}, expected a tensor {expected}")
        bad = ~torch.isfinite(chunks).flatten(1).all(1)
        if bad.any():
            key = padded[int(bad.nonzero()[0, 0])].key
            raise RunError(f"the sampler returned NaN or infinity, {_where(self._label, key)}")


def what_to_observe(models: Models) -> ObservationRequest:
    """The policy's request, with the vectors that the critic reads added."""
    request = models.policy.request
    read_by_critic = models.critic.observations if models.critic else ()
    return dataclasses.replace(request, names=tuple(dict.fromkeys((*request.names, *read_by_critic))))


def stacked(observations: Sequence[Observation]) -> dict[str, Any]:
    """Stack the observations of B episodes: arrays to (B, ...), strings to lists of B."""
    return {
        name: [observation[name] for observation in observations]
        if isinstance(value, str)
        else np.stack([observation[name] for observation in observations])
        for name, value in observations[0].items()
    }


def _where(label: str, key: EpisodeKey) -> str:
    return f"sampler={label} task={key.task} episode={key.episode}"


def _generators(pending: Sequence[PendingDecision]) -> list[torch.Generator]:
    return [noise_generator(waiting.key.noise_seed, waiting.decision) for waiting in pending]
