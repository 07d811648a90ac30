"""A critic's training data: every executed chunk, its outcome, and the chunk that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """N chunk transitions: one per control step, or per decision, of every episode. Rows of an episode are adjacent.

    observations: (N, n), normalised. chunks: (N, H, D), normalised.
    next_index: (N,), the row H steps later in the same episode, -1 if the episode ends before.
    success: (N,), 1 if the episode succeeds, else 0.
    steps_left: (N,), control steps to the episode's end. step: (N,), control steps since its start.
    episode: (N,), the number of the row's episode. stride: control steps between two rows of an episode.
    """

    observations: Tensor
    chunks: Tensor
    next_index: Tensor
    success: Tensor
    steps_left: Tensor
    step: Tensor
    episode: Tensor
    stride: int = 1

    def __len__(self) -> int:
        return len(self.success)

    def cut(self, steps: int) -> Replay:
        """The replay of the first `steps` steps of every chunk."""
        following = _following(self.steps_left, steps, self.stride)
        return replace(self, chunks=self.chunks[:, :steps], next_index=following)


def build_replay(episodes: Sequence[tuple[Tensor, Tensor, bool]], stride: int = 1) -> Replay:
    """One Replay of episodes, each (observations (R, n), chunks at every control step (T, H, D), success).

    `stride`: control steps between observations; R is T / stride, rounded up, and chunks that start in between are
    left out. An episode ends at success or at the task's time limit. The limit is part of the definition of success,
    so it counts as a failure and is never bootstrapped past.
    """
    kept, success, steps_left, steps, numbers = [], [], [], [], []
    for number, (observations, chunks, succeeded) in enumerate(episodes):
        step = torch.arange(0, len(chunks), stride)
        rows = len(observations)
        assert rows == len(step)
        kept.append(chunks[step])
        success.append(torch.full((rows,), float(succeeded)))
        steps_left.append(len(chunks) - step)
        steps.append(step)
        numbers.append(torch.full((rows,), number))
    chunks, left = torch.cat(kept), torch.cat(steps_left)
    return Replay(
        observations=torch.cat([observations for observations, _, _ in episodes]),
        chunks=chunks,
        next_index=_following(left, chunks.shape[1], stride),
        success=torch.cat(success),
        steps_left=left,
        step=torch.cat(steps),
        episode=torch.cat(numbers),
        stride=stride,
    )


def _following(steps_left: Tensor, steps: int, stride: int) -> Tensor:
    """Of each row the first that is `steps` later or more in its episode, else its last; -1 if the episode ends before.

    steps_left: (N,). Returns (N,).
    """
    rows = torch.arange(len(steps_left))
    last = rows + (steps_left - 1) // stride
    return torch.where(steps < steps_left, torch.minimum(rows + -(-steps // stride), last), -1)
