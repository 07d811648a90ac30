"""A critic's training data: every executed chunk, its outcome, and the chunk that followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Rewards(NamedTuple):
    """Of each control step of an episode, both (T,) float32: its reward, and its mask, 0 if the return ends with it.

    The return may end within an episode, which then goes on. An episode whose last mask is 1 was cut by a time limit:
    its return goes on, unseen. Of several tasks that learn from the same episode both are (tasks, T).
    """

    rewards: Tensor
    masks: Tensor


class Played(NamedTuple):
    """An episode: observations (R, n) at every `stride`-th step, the chunk at every step (T, H, D), whether it
    succeeded.

    rewards: None for 1 at the end of a success, else 0.
    """

    observations: Tensor
    chunks: Tensor
    success: bool
    rewards: Rewards | None = None


class ToGo(NamedTuple):
    """The discounted reward after each of B rows, all (B,): `received`, plus `factor` times the value of row `ahead`.

    `factor` is 0 where the return ends, else the discount up to `ahead`, the last row before the time limit. None: it
    is 0 everywhere.
    """

    received: Tensor
    factor: Tensor | None
    ahead: Tensor


@dataclass(frozen=True)
class Replay:
    """N chunk transitions: one per control step, or per decision, of every episode. Rows of an episode are adjacent.

    The reward is 1 at the end of an episode that succeeds, else 0; an episode's end is the return's.

    observations: (N, n), normalised. chunks: (N, H, D), normalised.
    next_index: (N,), the row H steps later in the same episode, -1 if the return ends before.
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

    def to(self, device: torch.device) -> Replay:
        """The replay with its tensors on this device."""
        return replace(self, **{name: value.to(device) for name, value in self.tensors().items()})

    @property
    def learnable(self) -> Tensor:
        """The rows (M,) whose value follows from the data."""
        return torch.arange(len(self), device=self.success.device)

    def goes_on(self, rows: Tensor) -> Tensor:
        """Whether the value at each chunk's end counts, and follows from the row `next_index`: (B,) bool."""
        return self.next_index[rows] >= 0

    def ends(self, rows: Tensor) -> Tensor:
        """Whether the return ends within each chunk, (B,) bool."""
        return self.next_index[rows] < 0

    def following(self) -> Tensor:
        """The row of the state at each chunk's end, (N,), even if the return has ended; -1 if that state is unknown."""
        steps = self.chunks.shape[1]
        ahead = torch.arange(len(self), device=self.step.device) + -(-steps // self.stride)
        inside = ahead < len(self)
        ahead = ahead.clamp_max(len(self) - 1)
        there = inside & (self.episode[ahead] == self.episode) & (self.step[ahead] - self.step >= steps)
        return torch.where(there, ahead, -1)

    def mean(self, errors: Tensor, rows: Tensor) -> Tensor:
        """The mean of errors (..., B) in the `rows` (B,), a scalar."""
        return errors.mean()

    def chunk_return(self, rows: Tensor, discount: float) -> Tensor:
        """Discounted reward (B,) within each chunk: gamma^(steps to success - 1) if the episode succeeds in it."""
        last = self.steps_left[rows] <= self.chunks.shape[1]
        return last * self.success_return(rows, discount)

    def success_return(self, rows: Tensor | slice, discount: float) -> Tensor:
        """Discounted reward (B,) of the success that each row's episode ends with, 0 of a failure."""
        return _discounted(self.success[rows], self.steps_left[rows], discount)

    def to_go(self, discount: float, device: torch.device) -> Callable[[Tensor], ToGo]:
        """What gives, on the `device`, the discounted reward after each of some rows there."""
        success, steps_left = self.success.to(device), self.steps_left.to(device)
        return lambda rows: ToGo(_discounted(success[rows], steps_left[rows], discount), None, rows)

    def half(self, first: int) -> Replay:
        """A replay of every second episode, from number `first`, 0 or 1, on: as built of these episodes alone."""
        kept = self.episode % 2 == first
        number = torch.cumsum(kept, 0) - 1  # of a row among those that are kept
        following = torch.where(self.next_index >= 0, number[self.next_index], -1)
        chosen = {name: value[kept] for name, value in self.tensors().items()}
        return replace(self, **{**chosen, "next_index": following[kept], "episode": self.episode[kept] // 2})

    def tensors(self) -> dict[str, Any]:
        """Those that have an entry for each row, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def cut(self, steps: int) -> Replay:
        """The replay of the first `steps` steps of every chunk."""
        following = _following(self.steps_left, steps, self.stride)
        return replace(self, chunks=self.chunks[:, :steps], next_index=following)


@dataclass(frozen=True, kw_only=True)
class RewardedReplay(Replay):
    """A replay of rewards at any step. Chunks that a time limit cuts are left out.

    rewards: (N, H), of each step of a chunk, 0 after the return's end. ends_after: (N,), how many steps of its chunk a
    row's return lasts, H + 1 if it goes on. follows: (N,), whether it goes on, and the row `next_index` is there.
    """

    rewards: Tensor
    ends_after: Tensor
    follows: Tensor

    @property
    def learnable(self) -> Tensor:
        """The rows at whose chunk's end the return ends, or the next row's value follows. No time limit counts."""
        return self._known(slice(None)).nonzero()[:, 0]

    def _known(self, rows: Tensor | slice) -> Tensor:
        """Which of the rows are learnable."""
        return self.follows[rows] | (self.ends_after[rows] <= self.chunks.shape[1])

    def goes_on(self, rows: Tensor) -> Tensor:
        return self.follows[rows].movedim(0, -1)

    def ends(self, rows: Tensor) -> Tensor:
        return (self.ends_after[rows] <= self.chunks.shape[1]).movedim(0, -1)

    def chunk_return(self, rows: Tensor, discount: float) -> Tensor:
        rewards = self.rewards[rows]
        return (rewards * discount ** torch.arange(rewards.shape[-1], device=rewards.device)).sum(-1).movedim(0, -1)

    def to_go(self, discount: float, device: torch.device) -> Callable[[Tensor], ToGo]:
        every = torch.arange(len(self))
        ends = self.ends_after <= self.chunks.shape[1]
        received = self.chunk_return(every, discount) * ends
        factor, ahead = (~ends).float(), every.clone()
        between = (self.rewards[:, : self.stride] * discount ** torch.arange(self.stride)).sum(1)
        goes_on = self.ends_after > self.stride
        last = torch.cat([self.episode[1:] != self.episode[:-1], torch.ones(1, dtype=torch.bool)]).nonzero()[:, 0]
        first = torch.cat([torch.zeros(1, dtype=torch.long), last[:-1] + 1])
        for back in range(1, int((last - first).max()) + 1):  # from the episodes' ends, all at once
            rows = (last - back)[last - back >= first]
            rows = rows[goes_on[rows]]
            received[rows] = between[rows] + discount**self.stride * received[rows + 1]
            factor[rows] = discount**self.stride * factor[rows + 1]
            ahead[rows] = ahead[rows + 1]
        received, factor, ahead = received.to(device), factor.to(device), ahead.to(device)
        return lambda rows: ToGo(received[rows], factor[rows], ahead[rows])

    def cut(self, steps: int) -> Replay:
        raise NotImplementedError("a replay of rewards is built with the chunks that are executed")


@dataclass(frozen=True, kw_only=True)
class TasksReplay(RewardedReplay):
    """A replay that several tasks share, each with its own rewards: states and chunks are the same rows for all.

    rewards: (N, tasks, H). ends_after, follows: (N, tasks). What is found of rows (B,) is (tasks, B). An episode may
    end at the goal of one task; for the others this end is a time limit. So some rows are learnable for some tasks.
    """

    @property
    def learnable(self) -> Tensor:
        """The rows that any task learns from."""
        return self._known(slice(None)).any(1).nonzero()[:, 0]

    def mean(self, errors: Tensor, rows: Tensor) -> Tensor:
        """Each task's mean of errors (tasks, ..., B) over those `rows` (B,) that it learns from: (tasks,)."""
        known = self._known(rows).T.float()
        by_row = errors.reshape(len(errors), -1, errors.shape[-1]).mean(1)
        return (by_row * known).sum(1) / known.sum(1).clamp_min(1)

    def to_go(self, discount: float, device: torch.device) -> Callable[[Tensor], ToGo]:
        raise NotImplementedError("the last row before a time limit differs between tasks")


def build_replay(episodes: Sequence[Played | tuple[Tensor, Tensor, bool]], stride: int = 1) -> Replay:
    """One Replay of episodes, a `RewardedReplay` if they hold rewards, a `TasksReplay` if these are of several tasks.

    `stride`: control steps between observations; R is T / stride, rounded up, and chunks that start in between are
    left out. Without rewards, an episode ends at success or at the task's time limit. The limit is part of the
    definition of success, so it counts as a failure and is never bootstrapped past.
    """
    played = [Played(*episode) for episode in episodes]
    kept, success, steps_left, steps, numbers = [], [], [], [], []
    for number, episode in enumerate(played):
        step = torch.arange(0, len(episode.chunks), stride)
        rows = len(episode.observations)
        assert rows == len(step)
        kept.append(episode.chunks[step])
        success.append(torch.full((rows,), float(episode.success)))
        steps_left.append(len(episode.chunks) - step)
        steps.append(step)
        numbers.append(torch.full((rows,), number))
    chunks, left = torch.cat(kept), torch.cat(steps_left)
    replay = Replay(
        observations=torch.cat([episode.observations for episode in played]),
        chunks=chunks,
        next_index=_following(left, chunks.shape[1], stride),
        success=torch.cat(success),
        steps_left=left,
        step=torch.cat(steps),
        episode=torch.cat(numbers),
        stride=stride,
    )
    rewards = [episode.rewards for episode in played if episode.rewards is not None]
    return _rewarded(replay, rewards) if len(rewards) == len(played) else replay


def _discounted(success: Tensor, steps_left: Tensor, discount: float) -> Tensor:
    return success * discount ** (steps_left - 1)


def _rewarded(replay: Replay, rewards: Sequence[Rewards]) -> RewardedReplay:
    """The replay with the rewards of each episode."""
    horizon, stride = replay.chunks.shape[1], replay.stride
    windows = [_window(episode, horizon) for episode in rewards]
    of_step = torch.cat([window[0][..., ::stride, :] for window in windows], dim=-2)
    ends_after = torch.cat([window[1][..., ::stride] for window in windows], dim=-1)
    whole = (ends_after <= horizon) | (replay.steps_left >= horizon)
    several = whole.ndim > 1
    kept = whole.any(0) if several else whole
    number = torch.cumsum(kept, 0) - 1  # of a row among those that are kept
    ahead = torch.arange(len(replay)) + -(-horizon // stride)
    inside = ahead < len(replay)
    ahead = ahead.clamp_max(len(replay) - 1)
    inside &= replay.episode[ahead] == replay.episode
    follows = inside & whole[..., ahead] & (ends_after > horizon)
    leads = follows.any(0) if several else follows
    return (TasksReplay if several else RewardedReplay)(
        observations=replay.observations[kept],
        chunks=replay.chunks[kept],
        next_index=torch.where(leads, number[ahead], -1)[kept],
        success=replay.success[kept],
        steps_left=replay.steps_left[kept],
        step=replay.step[kept],
        episode=replay.episode[kept],
        stride=stride,
        rewards=of_step[..., kept, :].movedim(-2, 0).contiguous(),
        ends_after=ends_after[..., kept].movedim(-1, 0).contiguous(),
        follows=follows[..., kept].movedim(-1, 0).contiguous(),
    )


def _window(episode: Rewards, horizon: int) -> tuple[Tensor, Tensor]:
    """The rewards of `horizon` steps from each step on, (..., T, H), 0 after the return's end, and `ends_after`,
    (..., T).
    """
    padding = torch.zeros(*episode.rewards.shape[:-1], horizon - 1)
    rewards = torch.cat([episode.rewards, padding], dim=-1).unfold(-1, horizon, 1)
    masks = torch.cat([episode.masks, padding + 1], dim=-1).unfold(-1, horizon, 1)
    masks = masks.cumprod(-1)  # whether it goes on after each
    going = torch.cat([torch.ones(*rewards.shape[:-1], 1), masks[..., :-1]], dim=-1)
    lasts = going.sum(-1).long()
    return rewards * going, torch.where(masks[..., -1] > 0, horizon + 1, lasts)


def _following(steps_left: Tensor, steps: int, stride: int) -> Tensor:
    """Of each row the first that is `steps` later or more in its episode, else its last; -1 if the episode ends before.

    steps_left: (N,). Returns (N,).
    """
    rows = torch.arange(len(steps_left))
    last = rows + (steps_left - 1) // stride
    return torch.where(steps < steps_left, torch.minimum(rows + -(-steps // stride), last), -1)
