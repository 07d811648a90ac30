"""What a critic learns from: every executed chunk, what came of it, and the chunk that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """N chunk transitions, one for every control step of every episode.

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


def build_replay(episodes: Sequence[tuple[Tensor, Tensor, bool]]) -> Replay:
    """Episodes as (observations (T, n), chunks (T, H, D), success) to one Replay.

    An episode ends by success or at the task's time limit, which is part of the definition of success: so the limit is
    a failure like any other, never bootstrapped past.
    """
    next_index, success, steps_left, steps, start = [], [], [], [], 0
    for observations, chunks, succeeded in episodes:
        length, horizon = len(observations), chunks.shape[1]
        rows = torch.arange(length)
        next_index.append(torch.where(rows + horizon < length, start + rows + horizon, -1))
        success.append(torch.full((length,), float(succeeded)))
        steps_left.append(length - rows)
        steps.append(rows)
        start += length
    return Replay(
        torch.cat([e[0] for e in episodes]),
        torch.cat([e[1] for e in episodes]),
        torch.cat(next_index),
        torch.cat(success),
        torch.cat(steps_left),
        torch.cat(steps),
    )
