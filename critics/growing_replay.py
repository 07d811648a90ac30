"""A replay that further episodes are appended to, in time that is proportional to these alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from torch import Tensor

from critics.replay import Replay


class GrowingRows:
    """Rows that others are appended to: those that are there are copied only when the room for them is used up."""

    def __init__(self) -> None:
        self._room: Tensor | None = None
        self._count = 0

    def append(self, rows: Tensor) -> Tensor:
        """All rows so far (N, ...), these last. What was returned before stays as it is."""
        start, self._count = self._count, self._count + len(rows)
        if self._room is None:
            self._room = rows
            return rows
        if self._count > len(self._room):
            before = self._room
            self._room = rows.new_empty((self._count + self._count // 4, *rows.shape[1:]))
            self._room[:start] = before[:start]
        self._room[start : self._count] = rows
        return self._room[: self._count]


class GrowingReplay:
    """Replays of consecutive episodes as one. `whole`: all so far, as `build_replay` would build it of all episodes."""

    whole: Replay

    def __init__(self) -> None:
        self._rows: defaultdict[str, GrowingRows] = defaultdict(GrowingRows)
        self._episodes = 0

    def append(self, replay: Replay, episodes: int) -> None:
        """Add a replay of so many `episodes`, some of which may have no rows. The `whole` before stays as it is."""
        rows = replay.tensors()
        if self._episodes:
            following = replay.next_index
            rows["next_index"] = following.where(following < 0, following + len(self.whole))
            rows["episode"] = replay.episode + self._episodes
        self._episodes += episodes
        grown: dict[str, Any] = {name: self._rows[name].append(values) for name, values in rows.items()}
        self.whole = replace(replay, **grown)
