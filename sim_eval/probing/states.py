"""Visited states: chunks are drawn in them, and critics judge the chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from critics.critic import Critic
from policies.policy import Denoiser, Policy
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.cost import NonFiniteQError, Rows, counted
from sim_eval.rollout.inference import Decider, PendingDecision, decision_blocks, stacked
from sim_eval.rollout.keys import noise_generator
from sim_eval.samplers import Models, Sampler
from sim_eval.samplers.candidates import draw_candidates
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import required_critic

# Added to a decision's number, for draws beside those of the decision itself: no episode has so many decisions.
_BESIDE = 1 << 32


@dataclass(frozen=True)
class States:
    """S decisions of unsteered episodes. Chunks are drawn in `batch` of them at once, with the decisions' own noise."""

    visits: Sequence[PendingDecision]
    batch: int

    @property
    def episodes(self) -> np.ndarray:
        """The episode of each state, (S,)."""
        return np.array([visit.key.episode for visit in self.visits])

    def chunks(self, models: Models, sampler: Sampler, label: str) -> np.ndarray:
        """The sampler's chunk in each state, (S, H, D), normalised. Raises RunError and UndecidedError as `Decider`."""
        decider = Decider(sampler, models, label)
        return np.stack([decision.normalised for part in self._parts(label) for decision in decider.decide(part)])

    @torch.no_grad()
    def draws(self, models: Models, n: int, steps: int, label: str) -> np.ndarray:
        """`n` unsteered chunks in each state, (S, n, H, D), normalised. `steps`: of denoising."""
        policy, found = counted(models, Rows()).policy, []
        for block, own in self._blocks(label, models.policy.row_block):
            observation, noise = stacked([visit.observation for visit in block]), [visit.generator() for visit in block]
            chunks, _ = draw_unsteered(policy, observation, noise, steps, n)
            found.append(chunks.view(len(block), n, *chunks.shape[1:])[:own].float().cpu().numpy())
        return np.concatenate(found)

    def further_draws(self, models: Models, n: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """`n` unsteered chunks in each state, (S, n, H, D), none the decision's own, and Q of each, (S, n).

        Raises RunError if the critic gives NaN or infinity.
        """
        latest, found = counted(models, Rows()), []  # counted, a critic reads the latest control step alone
        for block, own in self._blocks("draws", models.policy.row_block):
            noise = [noise_generator(visit.key.noise_seed, _BESIDE + visit.decision) for visit in block]
            observation = stacked([visit.observation for visit in block])
            try:
                drawn = draw_candidates(latest, observation, noise, n, steps)
            except NonFiniteQError:
                raise RunError("the critic returned NaN or infinity for the policy's own draws") from None
            found.append([tensor[:own].detach().float().cpu().numpy() for tensor in drawn])
        chunks, q = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return chunks, q

    @torch.no_grad()
    def values(self, policy: Policy | Denoiser, critic: Critic, chunks: np.ndarray) -> np.ndarray:
        """Q (S, N) in float64 of N normalised chunks in each state, (S, N, H, D). The critic reads no features."""
        judge, found = required_critic(counted(Models(policy, critic), Rows())), []
        for rows in decision_blocks(range(len(self.visits)), policy.row_block):
            seen = [{name: self.visits[row].observation[name] for name in critic.observations} for row in rows]
            encoded = judge.encode(stacked(seen), None).repeat_interleave(chunks.shape[1], dim=0)
            block = torch.from_numpy(chunks[rows]).to(policy.device).flatten(0, 1)
            found.append(judge.q(block, encoded).view(len(rows), -1).double().cpu().numpy())
        return np.concatenate(found)[: len(self.visits)]

    def _blocks(self, label: str, size: int) -> Iterator[tuple[list[PendingDecision], int]]:
        """The states in blocks for the networks, and how many of each block do not only fill it up."""
        for part in self._parts(label):
            for number, block in enumerate(decision_blocks(part, size)):
                yield block, min(len(block), len(part) - number * len(block))

    def _parts(self, label: str) -> tqdm[Sequence[PendingDecision]]:
        starts = range(0, len(self.visits), self.batch)
        return tqdm([self.visits[start : start + self.batch] for start in starts], desc=label, disable=None)
