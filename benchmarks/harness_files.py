"""What the files of a run hold, for `benchmarks.harnesses`: read from the files themselves, whoever wrote them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

_NAMED_BY_RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")  # a UUID or a number
_SHOWN = 25  # fields of a file in the table


@dataclass(frozen=True)
class Kind:
    """Files of one run whose names differ in numbers alone."""

    name: str  # with N for each number
    files: int
    bytes: int  # of the files, a database counted whole
    parts: int | None  # what the first file is a list of: lines, rows of a table; None if it is one piece
    fields: tuple[str, ...]  # of the first file; a list's elements and a mapping's numbered keys count as one


def kinds(folder: Path) -> list[Kind]:
    """Everything below `folder`, the tables of a database one by one."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).with_suffix("").as_posix()
        found[_NAMED_BY_RUN.sub("N", name) + path.suffix].append(path)
    return [
        Kind(f"{name}{table}", len(paths), sum(path.stat().st_size for path in paths), parts, fields)
        for name, paths in found.items()
        for table, parts, fields in _contents(paths[0])
    ]


def files_table(written: dict[str, list[Kind]]) -> str:
    """One line a kind of file, by program."""
    lines = ["| program | file | files | kB | lines or rows of the first | fields |", "|---|---|---|---|---|---|"]
    for program, found in written.items():
        for kind in found:
            more = f", {len(kind.fields) - _SHOWN} more" if len(kind.fields) > _SHOWN else ""
            shown = ", ".join(kind.fields[:_SHOWN]) + more
            parts = "" if kind.parts is None else kind.parts
            lines.append(f"| {program} | {kind.name} | {kind.files} | {kind.bytes / 1e3:.1f} | {parts} | {shown} |")
    return "\n".join(lines)


def _contents(path: Path) -> list[tuple[str, int | None, tuple[str, ...]]]:
    """The tables of a file, or the file as the only one: its name's ending, number of parts, and fields."""
    match path.suffix:
        case ".json":
            return [("", None, _fields(json.loads(path.read_text())))]
        case ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            return [("", len(rows), _fields(rows))]
        case ".yaml":
            return [("", None, _fields(OmegaConf.to_container(OmegaConf.load(path))))]
        case ".npz":
            with np.load(path) as arrays:
                return [("", None, tuple(f"{name} {arrays[name].shape}" for name in arrays.files))]
        case ".npy":
            return [("", None, (f"array {np.load(path, mmap_mode='r').shape}",))]
        case ".sqlite":
            with closing(sqlite3.connect(path)) as database:
                return list(_tables(database))
        case _:
            return [("", None, ())]


def _tables(database: sqlite3.Connection) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """A column that holds JSON is replaced by its fields."""
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        cursor = database.execute(f'SELECT * FROM "{table}"')
        columns = [column[0] for column in cursor.description]
        rows = [dict(zip(columns, map(_parsed, row), strict=True)) for row in cursor.fetchall()]
        yield f": {table}", len(rows), _fields(rows) or tuple(columns)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value


def _fields(content: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_paths(content, "")))


def _paths(content: Any, above: str) -> Iterator[str]:
    """The way to each value that is neither a list nor a mapping."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _paths(value, f"{above}.{_NAMED_BY_RUN.sub('N', str(key))}" if above else str(key))
    elif isinstance(content, list) and content:
        for value in content:
            yield from _paths(value, above)
    elif above:
        yield above
