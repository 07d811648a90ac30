"""One decision batch: observations of several episodes in, action chunks and their cost out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sim_eval.errors import RunError
from sim_eval.rollout.cost import Counter, NonFiniteQError
from sim_eval.rollout.keys import noise_generator
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey, Observation

# torch's CPU matrix product takes another path, with other rounding, below 4 rows; from there on, a row's
# result does not depend on the rows beside it. Padding every batch to a multiple of 8 makes an episode's
# chunks independent of how many episodes run beside it, bit for bit.
ROWS = 8


@dataclass(frozen=True)
class Due:
    """One episode that needs its next chunk."""

    key: EpisodeKey
    decision: int
    observation: Observation


@dataclass(frozen=True)
class Decision:
    """One episode's chunk: actions (h, D) in the task's units, its cost, and Q (None without a critic)."""

    actions: np.ndarray
    policy_rows: float
    critic_rows: float
    posterior_rows: float
    q: float | None


class Decider:
    """Draws chunks with one sampler. `label` names the sampler in errors."""

    def __init__(self, sampler: Sampler, models: Models, label: str) -> None:
        self._sampler, self._models, self._label = sampler, models, label
        self._counter = Counter(models)

    def decide(self, due: Sequence[Due]) -> list[Decision]:
        """One chunk for each; RunError when the sampler or the critic yields NaN or infinity."""
        padded = [due[row % len(due)] for row in range(-(-len(due) // ROWS) * ROWS)]
        observation = _stacked(padded)
        rows = self._counter.rows
        rows.clear()
        try:
            chunks = self._sampler(self._counter.counted, observation, _generators(padded)).detach()
            counts = (rows.policy / len(padded), rows.critic / len(padded), rows.posterior / len(padded))
            self._check(chunks, padded)
            q = self._values(chunks, observation)
        except NonFiniteQError as error:
            culprit = padded[error.row // max(error.rows // len(padded), 1) % len(padded)].key
            raise RunError(f"the critic returned NaN or infinity, {_where(self._label, culprit)}") from None
        actions = self._models.denoiser.unnormalise(chunks)[:, : self._models.denoiser.execute]
        return [Decision(actions[row].copy(), *counts, None if q is None else q[row]) for row in range(len(due))]

    def latency_ms(self, due: Due) -> float:
        """Wall time of one decision for one episode alone, unpadded and uncounted, as on a robot."""
        observation, generators = _stacked([due]), _generators([due])
        start = time.perf_counter()
        self._sampler(self._models, observation, generators)
        return 1e3 * (time.perf_counter() - start)

    def _values(self, chunks: Tensor, observation: Mapping[str, np.ndarray]) -> list[float] | None:
        critic = self._counter.counted.critic
        if critic is None:
            return None
        with torch.no_grad():
            return critic.q(chunks, critic.encode(observation)).tolist()

    def _check(self, chunks: Tensor, padded: Sequence[Due]) -> None:
        denoiser = self._models.denoiser
        expected = (len(padded), denoiser.horizon, denoiser.action_dim)
        if tuple(chunks.shape) != expected:
            shape = tuple(chunks.shape)
            raise RunError(f"sampler {self._label} returned chunks of shape {shape}, expected {expected}")
        bad = ~torch.isfinite(chunks).flatten(1).all(1)
        if bad.any():
            key = padded[int(bad.nonzero()[0, 0])].key
            raise RunError(f"the sampler returned NaN or infinity, {_where(self._label, key)}")


def _where(label: str, key: EpisodeKey) -> str:
    return f"sampler={label} task={key.task} episode={key.episode}"


def _stacked(due: Sequence[Due]) -> dict[str, np.ndarray]:
    """Observations of each episode to arrays (B, n)."""
    return {name: np.stack([one.observation[name] for one in due]) for name in due[0].observation}


def _generators(due: Sequence[Due]) -> list[torch.Generator]:
    return [noise_generator(one.key.noise_seed, one.decision) for one in due]
