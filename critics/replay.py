"""A critic's training data: every executed chunk, its outcome, and the chunk that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """N chunk transitions: one per control step, or per decision, of every episode. Rows of an episode are adjacent.

    observations: (N, n), normalised. chunks: (N, H, D), normalised.
    next_index: (N,), the row H steps later in the same episode, -1 if the episode ends before.
    success: (N,), 1 if the episode succeeds, else 0.
    steps_left: (N,), control steps to the episode's end. step: (N,), control steps since its start.
    """

    observations: Tensor
    chunks: Tensor
    next_index: Tensor
    success: Tensor
    steps_left: Tensor
    step: Tensor

    def __len__(self) -> int:
        return len(self.success)


def build_replay(episodes: Sequence[tuple[Tensor, Tensor, bool]], stride: int = 1) -> Replay:
    """One Replay of episodes, each (observations (R, n), chunks at every control step (T, H, D), success).

    `stride`: control steps between observations; R is T / stride, rounded up, and chunks that start in between are
    left out. An episode ends at success or at the task's time limit. The limit is part of the definition of success,
    so it counts as a failure and is never bootstrapped past.
    """
    kept, next_index, success, steps_left, steps, start = [], [], [], [], [], 0
    for observations, chunks, succeeded in episodes:
        length, horizon = len(chunks), chunks.shape[1]
        step = torch.arange(0, length, stride)
        rows = len(observations)
        assert rows == len(step)
        # With a stride, the first observation that is H steps later or more.
        following = ((step + horizon + stride - 1) // stride).clamp_max(rows - 1)
        kept.append(chunks[step])
        next_index.append(torch.where(step + horizon < length, start + following, -1))
        success.append(torch.full((rows,), float(succeeded)))
        steps_left.append(length - step)
        steps.append(step)
        start += rows
    return Replay(
        torch.cat([observations for observations, _, _ in episodes]),
        torch.cat(kept),
        torch.cat(next_index),
        torch.cat(success),
        torch.cat(steps_left),
        torch.cat(steps),
    )
