"""A run's records: one JSON line per finished episode, safe against a kill at any instant.

An episode's executed actions are written before its line, so that every line that exists can be rendered.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from sim_eval.errors import RunError
from sim_eval.files import replacing

if TYPE_CHECKING:  # it loads torch, which processes that only draw videos do without
    from sim_eval.rollout.episodes import Episode

RECORDS = "records.jsonl"
_ACTIONS = "actions"
_LOCK = ".lock"


@dataclass(frozen=True)
class Record:
    """One finished episode, as stored. `video`: the rendered file, from the run folder; the other fields as in
    `Episode`."""

    task: str
    policy: str
    sampler: str
    strength: float | None
    episode: int
    env_seed: int
    noise_seed: int
    state_hash: str | None
    success: bool
    steps: int
    error: str | None
    wall_s: float
    decisions: int
    execute: int
    decision_ms: float | None
    policy_rows: int
    critic_rows: int
    posterior_rows: int
    mean_q: float | None
    q: list[float] | None
    video: str | None = None


_FIELDS = {field.name for field in fields(Record)}


def record(episode: Episode, policy: str, sampler: str, strength: float | None) -> Record:
    """What is stored of an episode, besides its actions."""
    key = episode.key
    return Record(
        task=key.task,
        policy=policy,
        sampler=sampler,
        strength=strength,
        episode=key.episode,
        env_seed=key.env_seed,
        noise_seed=key.noise_seed,
        state_hash=episode.state_hash,
        success=episode.success,
        steps=episode.steps,
        error=episode.error,
        wall_s=round(episode.wall_s, 3),
        decisions=episode.decisions,
        execute=episode.execute,
        decision_ms=None if episode.decision_ms is None else round(episode.decision_ms, 3),
        policy_rows=episode.policy_rows,
        critic_rows=episode.critic_rows,
        posterior_rows=episode.posterior_rows,
        mean_q=episode.mean_q,
        q=None if episode.q is None else [round(value, 4) for value in episode.q],
    )


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into the folder; RunError if one does. It goes with the process, even a killed
    one."""
    with _opened(folder / _LOCK) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is writing {folder}: wait for it or choose another output") from None
        yield


def _opened(path: Path) -> TextIO:
    try:
        return open(path, "a")
    except OSError as error:
        raise RunError(f"cannot write {path.parent}: {error.strerror}") from None


def video_path(folder: Path, one: Record) -> Path | None:
    """Where the video of a record of this run folder is, or was; None where none was rendered."""
    return None if one.video is None else folder / one.video


def recorded(folder: Path) -> list[Record]:
    """As `read`; none in a folder where no episode has ended yet."""
    return read(folder) if (folder / RECORDS).is_file() else []


def read(folder: Path) -> list[Record]:
    """The records of a run folder, the latest per (sampler, episode), in file order.

    A torn last line, which a killed run leaves behind, is passed over. Raises RunError for a folder without records
    and for a line that is no record.
    """
    path = folder / RECORDS
    if not path.is_file():
        raise RunError(f"{folder} has no {RECORDS}: not a run folder")
    records: dict[tuple[str, int], Record] = {}
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if line.endswith(b"\n"):
            one = _parse(line, path, number)
            records.pop((one.sampler, one.episode), None)
            records[one.sampler, one.episode] = one
    return list(records.values())


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        values = json.loads(line)
    except ValueError:
        raise RunError(f"{path} line {number} is not JSON: the file was changed or the disk is damaged") from None
    if isinstance(values, dict):
        values.pop("assets", None)  # written by older versions
    if not isinstance(values, dict) or set(values) != _FIELDS:
        raise RunError(f"{path} line {number} is not a record with the fields {', '.join(sorted(_FIELDS))}")
    return Record(**values)


def actions_path(folder: Path, sampler: str, episode: int) -> Path:
    """Where an episode's executed actions are stored."""
    return folder / _ACTIONS / sampler / f"{episode:04d}.npy"


class Writer:
    """Appends to a run folder, which the caller has locked. Raises RunError when the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / RECORDS
        if self._path.exists():
            self._drop_torn_line()

    def append(self, one: Record, actions: np.ndarray) -> None:
        """Store actions (steps, D), then the record; both are on the disk when this returns."""
        with _clear_errors(self._path):
            path = actions_path(self._folder, one.sampler, one.episode)
            with replacing(path) as part:
                np.save(part, actions)
            self._append_line(_line(one))

    def rewrite(self, records: list[Record]) -> None:
        """Replace all records at once."""
        with _clear_errors(self._path), replacing(self._path) as part:
            part.write_bytes(b"".join(_line(one) for one in records))

    def _append_line(self, line: bytes) -> None:
        with open(self._path, "ab", buffering=0) as handle:
            end = handle.seek(0, os.SEEK_END)
            try:
                if handle.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle.fileno())
            except OSError:
                handle.truncate(end)  # half a line must not stay
                raise

    def _drop_torn_line(self) -> None:
        with open(self._path, "rb+") as handle:
            content = handle.read()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                handle.truncate(whole)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path.parent}: {error.strerror or error}; every earlier record is intact, "
            "the same command goes on from there"
        ) from None


def _line(one: Record) -> bytes:
    return json.dumps(asdict(one), allow_nan=False).encode() + b"\n"
