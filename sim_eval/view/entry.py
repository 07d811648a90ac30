"""One run folder as the page shows it. A folder that cannot be read is an entry, too, and says why."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from sim_eval.analysis.curves import CURVE, OPTIONS, read_learned
from sim_eval.foundation.errors import RunError
from sim_eval.runs.reader import CONFIG, PROVENANCE, Run, read_run
from sim_eval.runs.records import RECORDS
from sim_eval.runs.run_folder import LOCK
from sim_eval.runs.videos import INDEX, SHEET, VIDEO

_log = logging.getLogger(__name__)

#: The last second that a date can name.
_LATEST_S = 253402300799

#: A folder with any of these is a run folder, `sim-eval`'s or `sim-eval learn`'s, perhaps a broken one.
MARKS = (CONFIG, RECORDS, OPTIONS, CURVE)

#: What an entry is made of.
_SOURCES = (*MARKS, PROVENANCE, INDEX)

#: reading: not read yet. running: a process of this machine writes it. ended: it has all its episodes. unfinished: it
#: lacks some. broken: it cannot be read.
State = Literal["reading", "running", "ended", "unfinished", "broken"]

#: For each file of `_SOURCES`, when it was changed and its size; 0 where there is none.
Stamp = tuple[tuple[int, int], ...]


class EpisodeEntry(NamedTuple):
    """A finished episode. `video`, `sheet`: addresses of its video and its contact sheet, None where there is none."""

    sampler: str
    episode: int
    success: bool
    steps: int
    mean_q: float | None
    error: str | None
    video: str | None
    sheet: str | None


class Share(NamedTuple):
    """How often a sampler has succeeded; `errors`: episodes that ended in an error, beside these."""

    sampler: str
    successes: int
    episodes: int
    errors: int


@dataclass(frozen=True)
class Entry:
    """A run folder.

    id: of its path, safe in an address. name: its path below the root. learned: `sim-eval learn` wrote it; its shares
    are then of the last evaluation, `done` are environment steps, and it has no episodes. asked: episodes of all
    samplers together; 0 if unknown. problem: why it is broken. started: ISO 8601; where it is unknown, when the folder
    was last written.
    """

    id: str
    folder: Path
    name: str
    started: str
    state: State = "reading"
    learned: bool = False
    task: str = ""
    policy: str = ""
    shares: tuple[Share, ...] = ()
    done: int = 0
    asked: int = 0
    problem: str = ""
    episodes: tuple[EpisodeEntry, ...] = ()


def unread(folder: Path, root: Path) -> Entry:
    """The entry of a folder that has not been read yet."""
    path = os.fsencode(folder)
    name = os.path.relpath(path, os.fsencode(root)).decode(errors="replace")
    written = min(max(0, *(changed for changed, _ in stamp(folder))) / 1e9, _LATEST_S)
    return Entry(
        id=hashlib.sha256(path).hexdigest()[:12],
        folder=folder,
        name=folder.name if name == "." else name,
        started=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
    )


def stamp(folder: Path) -> Stamp:
    """The stamp of a folder, which changes when its content does."""
    return tuple(_changed(folder / name) for name in _SOURCES)


def lock_of(folder: Path) -> int:
    """The inode of the file that a process locks while it writes the folder; 0 if there is none."""
    return _inode(folder / LOCK)


def read(entry: Entry, videos: Videos) -> Entry:
    """The entry with the folder's content; its state is "ended", "unfinished" or "broken"."""
    try:
        is_run = any(os.path.lexists(entry.folder / name) for name in (CONFIG, RECORDS))
        return _of_run(entry, read_run(entry.folder), videos) if is_run else _of_learner(entry)
    except (RunError, OSError) as error:
        return replace(entry, state="broken", problem=str(error))
    except Exception as error:  # a defect of a reader: the other folders are still to be shown
        _log.exception("%s cannot be read", entry.folder)
        return replace(entry, state="broken", problem=f"{entry.folder}: {type(error).__name__}: {error!s:.300}")


def _of_run(entry: Entry, run: Run, videos: Videos) -> Entry:
    samplers = run.config["samplers"]
    order = {name: number for number, name in enumerate(samplers)}
    played = [
        EpisodeEntry(
            record.sampler,
            record.episode,
            record.success,
            record.steps,
            record.mean_q,
            record.error,
            videos.address_of(run.video(record)),
            videos.address_of(run.sheets.get((record.sampler, record.episode))),
        )
        for record in sorted(run.records, key=lambda record: (record.episode, order[record.sampler]))
    ]
    task, policy = run.setting
    asked = run.config["episodes"] * len(samplers)
    shares = tuple(_share(name, [episode for episode in played if episode.sampler == name]) for name in samplers)
    done = sum(share.episodes for share in shares)
    return replace(
        entry,
        state="ended" if done == asked else "unfinished",
        task=task,
        policy=policy,
        shares=shares,
        done=done,
        asked=asked,
        started=(run.provenance[0]["started"] if run.provenance else "") or entry.started,
        episodes=tuple(played),
    )


def _share(sampler: str, episodes: Sequence[EpisodeEntry]) -> Share:
    finished = [episode.success for episode in episodes if episode.error is None]
    return Share(sampler, sum(finished), len(finished), len(episodes) - len(finished))


def _of_learner(entry: Entry) -> Entry:
    learned = read_learned(entry.folder)
    latest = learned.evaluations[-1] if learned.evaluations else None
    outcomes = latest["outcomes"] if latest else []
    return replace(
        entry,
        state="ended",
        learned=True,
        task=learned.task,
        policy=learned.policy,
        shares=(Share(learned.sampler, sum(outcomes), len(outcomes), 0),),
        done=latest["steps"] if latest else 0,
    )


def _changed(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


@dataclass(frozen=True)
class Videos:
    """The videos and contact sheets below `places`, resolved paths of folders.

    Addresses are relative to `base`, which holds all.
    """

    places: tuple[Path, ...]

    @property
    def base(self) -> Path:
        return Path(os.path.commonpath(self.places))

    def address_of(self, video: Path | None) -> str | None:
        """The address of an existing file; None if there is none, or it lies elsewhere."""
        if video is None or not self._holds(video) or not os.path.isfile(video):
            return None
        return video.relative_to(self.base).as_posix()

    def at(self, address: str) -> Path | None:
        """The video or sheet at an address; None if there is none, wherever a path or a link leads."""
        try:
            path = (self.base / address).resolve()
        except (ValueError, OSError, RuntimeError):  # a NUL, too long a name, links that lead in a circle
            return None
        return path if path.suffix in (VIDEO, SHEET) and self._holds(path) and os.path.isfile(path) else None

    def _holds(self, path: Path) -> bool:
        return any(path.is_relative_to(place) for place in self.places)
