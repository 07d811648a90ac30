"""What a critic learns from: every executed chunk, what came of it, and the chunk that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """N chunk transitions, one for every control step, or every decision, of every episode.

    observations (N, n), chunks (N, H, D) normalised, next_index (N,) the row H steps later in the same episode or -1
    at the episode's end, success (N,) 1 where the episode succeeds, steps_left (N,) control steps to its end,
    step (N,) the step's number in its episode. Rows of an episode are adjacent.
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
    """Episodes as (observations (R, n), chunks of every control step (T, H, D), success) to one Replay.

    `stride`: control steps from one observation to the next; R is T / stride, rounded up, and the chunks that start in
    between are left out. An episode ends by success or at the task's time limit, which is part of the definition of
    success: so the limit is a failure like any other, never bootstrapped past.
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
