"""All run folders below a root, read as they change. Nothing is written, and no link to a folder is followed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sim_eval.view.entry import MARKS, Entry, Stamp, Videos, lock_of, read, stamp, unread

#: Seconds between two looks for new and changed folders.
_LOOK_S = 1.0

#: Levels of folders below the root that are looked through.
_DEEPEST = 64

#: Linux's list of file locks; other systems have none, and no run is shown as running there.
_LOCKS = Path("/proc/locks")


class Catalog:
    """The entries of the run folders below `root`. Threads may call `refresh` at the same time."""

    def __init__(self, root: Path, videos: Videos) -> None:
        self.root, self._videos = root, videos
        #: Changes whenever an entry does.
        self.version = 0
        self._entries: dict[Path, Entry] = {}
        self._stamps: dict[Path, Stamp] = {}
        self._stale: list[Path] = []
        self._locked: set[int] = set()
        self._next_look = 0.0
        self._lock = threading.Lock()

    def refresh(self, budget_s: float) -> list[Entry]:
        """Read what has changed, for about so many seconds, and return every entry, the newest run first.

        Those that are still to be read are among them, as they were, or in the state "reading". While another thread
        reads, nothing is read here.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._refresh(time.monotonic() + budget_s)
            finally:
                self._lock.release()
        return sorted(list(self._entries.values()), key=lambda entry: (entry.started, entry.name), reverse=True)

    @property
    def reading(self) -> int:
        """How many folders are still to be read."""
        return len(self._stale)

    def _refresh(self, end: float) -> None:
        if time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + _LOOK_S
        while self._stale:
            self._read(self._stale.pop())
            if time.monotonic() >= end:
                break

    def _look(self) -> None:
        """Note which folders have come, gone or changed."""
        found = list(_run_folders(self.root))
        for folder in self._entries.keys() - found:
            del self._entries[folder], self._stamps[folder]
            self.version += 1
        stale = []
        self._locked = _locked()
        for folder in found:
            if folder not in self._entries:
                self._publish(unread(folder, self.root))
            state = self._entries[folder].state
            begun_or_ended = state != "broken" and (state == "running") != (lock_of(folder) in self._locked)
            if begun_or_ended or self._stamps.get(folder) != stamp(folder):
                stale.append(folder)
        self._stale = sorted(stale, key=lambda folder: self._entries[folder].started)  # the newest is read first

    def _read(self, folder: Path) -> None:
        self._stamps[folder] = stamp(folder)  # before it is read: what is written meanwhile is a change
        entry = read(unread(folder, self.root), self._videos)
        if entry.state != "broken" and lock_of(folder) in self._locked:
            entry = replace(entry, state="running")
        self._publish(entry)

    def _publish(self, entry: Entry) -> None:
        if self._entries.get(entry.folder) != entry:
            self._entries[entry.folder] = entry
            self.version += 1


def _run_folders(folder: Path) -> Iterator[Path]:
    """The folder itself, if it is a run's, or those up to `_DEEPEST` levels below; a run folder holds no others."""
    waiting = [(folder, 0)]
    while waiting:
        folder, depth = waiting.pop()
        if any(os.path.lexists(folder / mark) for mark in MARKS):
            yield folder
            continue
        if depth == _DEEPEST:
            continue
        try:
            inside = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except OSError:  # gone since, or not for this user to read
            continue
        waiting += [(folder / name, depth + 1) for name in sorted(inside, reverse=True) if not name.startswith(".")]


def _locked() -> set[int]:
    """The inodes of all files that a process of this machine has locked."""
    if not _LOCKS.exists():
        return set()
    fields = (line.split() for line in _LOCKS.read_text(encoding="utf-8").splitlines())
    return {int(each[5].rpartition(":")[2]) for each in fields if len(each) > 5 and each[1] == "FLOCK"}
