"""A run's records: one JSON line per finished episode, safe against a kill at any instant.

An episode's executed actions are written before its line, so that every line that exists can be rendered.
"""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import numpy as np

from sim_eval.foundation.bounded import MOST_LINES, parse_json, read_bytes
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, check_name, test_of
from sim_eval.foundation.files import replacing
from sim_eval.rollout.result import Cost, EpisodeResult

if TYPE_CHECKING:  # it loads torch, which processes that only draw videos do without
    from sim_eval.rollout.episodes import Episode

RECORDS = "records.jsonl"
#: The sampler that the others are compared with.
BASELINE = "unsteered"
_ACTIONS = "actions"
#: Threads that write the actions of episodes that finished together.
_WRITERS = 16

#: Schema version of the lines that are written. Version 1 had no field `version`, and its costs were not nested.
VERSION = 2


@dataclass(frozen=True)
class _Identity:
    """The run's names of an episode, and its key."""

    task: str
    policy: str
    sampler: str
    strength: float | None
    episode: int
    env_seed: int
    noise_seed: int


@dataclass(frozen=True)
class Record(EpisodeResult, _Identity):  # in a line, the last base's fields come first
    """One finished episode as stored. `extra`: fields of other versions, kept as read."""

    extra: dict[str, Any] = field(default_factory=dict)


_Stored = TypeVar("_Stored", Cost, Record)

_KINDS = {kind: {k: v for k, v in get_type_hints(kind).items() if k != "extra"} for kind in (Cost, Record)}
_KINDS[Record]["cost"] = dict[str, Any]
_TESTS = {kind: {name: test_of(hint) for name, hint in hints.items()} for kind, hints in _KINDS.items()}
#: Fields whose whole numbers are made others: some of 64 bits are no exact float, which Arrow refuses later.
_FLOATS = {
    kind: [name for name, hint in hints.items() if {float, list[float]} & {hint, *get_args(hint)}]
    for kind, hints in _KINDS.items()
}
_NEEDED = {kind: [f.name for f in fields(kind) if (f.default, f.default_factory) == (MISSING,) * 2] for kind in _KINDS}


def record_of(episode: Episode, policy: str, sampler: str, strength: float | None) -> Record:
    """The record of an episode: everything that is stored except its actions."""
    result = {each.name: getattr(episode, each.name) for each in fields(EpisodeResult)}
    if episode.q is not None:
        result["q"] = [round(value, 4) for value in episode.q]
    return Record(**vars(episode.key), policy=policy, sampler=sampler, strength=strength, **result)


def read(folder: Path, check: Callable[[str, Record], None] | None = None) -> list[Record]:
    """The latest record of each (sampler, episode) of a run folder, in file order; empty if no episode has ended.

    An incomplete last line, left by a killed run, is ignored. `check(where, record)` is called for every record. Raises
    RunError for a line that is not a record.
    """
    path = folder / RECORDS
    records: dict[tuple[str, int], Record] = {}
    # The last part follows the last line end. A carriage return alone ends no line.
    lines = read_bytes(path, MOST_LINES).split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        where = f"{path} line {number}"
        record = _parse(line, where)
        if check is not None:
            check(where, record)
        records.pop((record.sampler, record.episode), None)
        records[record.sampler, record.episode] = record
    return list(records.values())


def _parse(line: bytes, where: str) -> Record:
    values = parse_json(line, where)
    if not isinstance(values, dict):
        raise RunError(f"{where} is no record; accepted: a JSON object")
    version = values.pop("version", 1)
    check_fields(where, {"version": version}, {"version": int})
    if version == 1:
        values["cost"] = {name: values.pop(name) for name in _NEEDED[Cost] if name in values}
    record = _built(Record, values, where, version)
    for name in ("task", "policy", "sampler"):
        check_name(f"{where}: {name}", getattr(record, name))
    return record


def _built(kind: type[_Stored], values: Mapping[str, Any], where: str, version: int) -> _Stored:
    """A record, or its cost, from a line's values. Raises RunError naming what does not fit."""
    kinds = _KINDS[kind]
    known = {name: value for name, value in values.items() if name in kinds}
    extra = {name: value for name, value in values.items() if name not in kinds}
    if lacking := [name for name in _NEEDED[kind] if name not in values]:
        besides = f" and has {', '.join(extra)} besides" if extra else ""
        raise RunError(
            f"{where} is no {kind.__name__.lower()} of version {VERSION}: it is of version {version}, lacks "
            f"{', '.join(lacking)}{besides}"
        )
    if not all(_TESTS[kind][name](value) for name, value in known.items()):
        check_fields(where, known, {name: kinds[name] for name in known})  # says which of them
    known |= {name: _as_floats(known[name]) for name in _FLOATS[kind] if name in known}
    if kind is Record:
        known["cost"] = _built(Cost, known["cost"], f"{where}: cost", version)
    return kind(**known, extra=extra)


def _as_floats(value: Any) -> Any:
    """A whole number, or those in a list, as floats; anything else as it is."""
    if isinstance(value, list):
        return [*map(float, value)] if int in {*map(type, value)} else value
    return float(value) if type(value) is int else value


def to_line(record: Record) -> bytes:
    """A record as it is stored."""
    plain = {"version": VERSION, **asdict(record)}
    for fields_of in (plain, plain["cost"]):
        fields_of.update(fields_of.pop("extra"))
    return json.dumps(plain, allow_nan=False).encode() + b"\n"


def actions_path(folder: Path, sampler: str, episode: int) -> Path:
    """Where an episode's executed actions are stored."""
    return folder / _ACTIONS / sampler / f"{episode:04d}.npy"


def append(folder: Path, record: Record, actions: np.ndarray) -> None:
    """`append_all` for one episode."""
    append_all(folder, [record], [actions])


def append_all(folder: Path, records: Sequence[Record], actions: Sequence[np.ndarray]) -> None:
    """Store the actions (steps, D) of each episode, then the records; all are on disk when this returns.

    A disk commits files together that several threads wait for. The caller must have locked the folder. Raises RunError
    if they cannot be written.
    """
    try:
        with ThreadPoolExecutor(min(len(records), _WRITERS)) as writers:
            list(writers.map(functools.partial(_store_actions, folder), records, actions))
        _append_lines(folder / RECORDS, b"".join(map(to_line, records)))
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}; every earlier record is intact, "
            "the same command goes on from there"
        ) from None


def _store_actions(folder: Path, record: Record, actions: np.ndarray) -> None:
    with replacing(actions_path(folder, record.sampler, record.episode)) as part:
        np.save(part, actions)


def _append_lines(path: Path, content: bytes) -> None:
    with open(path, "ab", buffering=0) as handle:
        end = handle.seek(0, os.SEEK_END)
        try:
            if handle.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle.fileno())
        except OSError:
            handle.truncate(end)  # remove an incomplete line
            raise


def drop_torn_line(folder: Path) -> None:
    """Remove the incomplete last line that a killed process has left."""
    path = folder / RECORDS
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
