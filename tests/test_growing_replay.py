"""A replay that grows is the one that is built of all episodes at once; so is a half of it."""

from __future__ import annotations

import pytest
import torch

from critics.growing_replay import GrowingReplay, GrowingRows
from critics.replay import Played, Replay, RewardedReplay, Rewards, build_replay

HORIZON = 3


def episode(number: int, length: int, rewarded: bool) -> Played:
    """With rewards, every third one ends its return in mid-episode, and the others are cut by a time limit."""
    masks = torch.ones(length)
    if number % 3 == 0:
        masks[length // 2] = 0
    rewards = Rewards(torch.arange(float(length)) - number, masks) if rewarded else None
    seen = torch.arange(2.0 * length).view(length, 2) + 100 * number
    return Played(seen, torch.full((length, HORIZON, 1), float(number)), number % 2 == 0, rewards)


def equal(first: Replay, second: Replay) -> bool:
    mine, theirs = first.tensors(), second.tensors()
    return type(first) is type(second) and all(torch.equal(mine[name], theirs[name]) for name in mine.keys() | theirs)


@pytest.mark.parametrize("rewarded", [False, True])
def test_it_is_as_built_at_once(rewarded: bool) -> None:
    """The last episode of a part is shorter than a chunk, so that a replay of rewards has no row of it."""
    episodes = [episode(number, length, rewarded) for number, length in enumerate((5, 9, 2, 7, 6, 1, 8, 4, 2))]
    growing, before = GrowingReplay(), []
    for start in range(0, len(episodes), 3):
        growing.append(build_replay(episodes[start : start + 3]), 3)
        before.append(growing.whole)
    assert isinstance(growing.whole, RewardedReplay) == rewarded
    for end, whole in zip((3, 6, 9), before, strict=True):
        assert equal(whole, build_replay(episodes[:end])), "also what was the whole before"
    for first in (0, 1):
        assert equal(growing.whole.half(first), build_replay(episodes[first::2]))


def test_rows_stay_where_they_are_while_there_is_room() -> None:
    rows = GrowingRows()
    places = {rows.append(torch.full((4, 2), float(part))).data_ptr() for part in range(64)}
    assert len(places) < 24
