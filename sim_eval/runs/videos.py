"""The index of a run's videos and contact sheets, a separate file so that rendering never rewrites records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from sim_eval.foundation.bounded import NUL, read_bytes, shown
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_optional, read_entries
from sim_eval.foundation.files import locked, replacing, write_text
from sim_eval.runs.records import Record

INDEX = "videos.json"

#: Suffixes of videos, of which browsers play no others, and of contact sheets.
VIDEO, SHEET = ".mp4", ".png"

_LOCK = ".videos.lock"

#: (sampler, episode) of every episode that a file shows.
Shown = tuple[tuple[str, int], ...]


class _Episode(TypedDict):
    sampler: str
    episode: int


class _Entry(TypedDict):
    file: str  # relative to the run folder: both may move together
    shows: list[_Episode]


#: Fields that an entry need not have. absolute: where the file was drawn, which leads there if the folder moves alone.
_MORE = {"absolute": str}


def read_index(folder: Path, records: Iterable[Record] = ()) -> dict[Path, Shown]:
    """The episodes that each rendered file of a run shows, oldest first; `records` of version 1 name their own videos.

    Raises RunError if the index is damaged.
    """
    index: dict[Path, Shown] = {}
    for record in records:
        video = record.extra.get("video")
        if isinstance(video, str):
            path = _resolved(folder, video)
            index[path] = (*index.get(path, ()), (record.sampler, record.episode))
    for number, entry in enumerate(read_entries(folder / INDEX, _Entry), 1):
        check_optional(f"{folder / INDEX} entry {number}", entry, _MORE)
        path = _resolved(folder, entry["file"])
        if "absolute" in entry and not path.exists():
            drawn = _resolved(folder, entry["absolute"])
            path = drawn if drawn.exists() else path
        index.pop(path, None)  # a file rendered again moves to the end
        index[path] = tuple((episode["sampler"], episode["episode"]) for episode in entry["shows"])
    return index


def _resolved(folder: Path, file: str) -> Path:
    """Where a stored path leads. Raises RunError for one that leads nowhere."""
    if NUL in file:
        raise RunError(f"{folder / INDEX}: file is {shown(file)}; accepted: a path without a NUL")
    try:
        os.lstat(path := (folder / file).resolve())
    except FileNotFoundError:  # a video that was removed since
        return path
    except (ValueError, OSError, RuntimeError) as error:  # a NUL, a loop of links, a name that is too long
        raise RunError(f"{folder / INDEX}: file is {shown(file)}, which is no path: {error}") from None
    return path


def latest(index: Mapping[Path, Shown], suffix: str) -> dict[tuple[str, int], Path]:
    """The latest file of this suffix of each (sampler, episode): `VIDEO`, or `SHEET`."""
    return {key: path for path, shown in index.items() if path.suffix == suffix for key in shown}


def update_index(folder: Path, add: Mapping[Path, Shown], remove: Iterable[Path] = ()) -> None:
    """Add rendered files to the index, and remove others. Raises RunError if the folder cannot be written."""
    with locked(folder / _LOCK):
        index = read_index(folder)
        for path in (*add, *remove):
            index.pop(path.resolve(), None)
        index.update({path.resolve(): shown for path, shown in add.items()})
        entries = [
            {
                "file": os.path.relpath(path, folder.resolve()),
                "absolute": str(path),
                "shows": [{"sampler": sampler, "episode": episode} for sampler, episode in shown],
            }
            for path, shown in index.items()
        ]
        lines = ",\n".join(map(json.dumps, entries))
        write_text(folder / INDEX, f"[\n{lines}\n]\n")


_FOLDER = "observed"
_MOST_PICTURE = 100_000_000


def write_pictures(folder: Path, pictures: Mapping[str, np.ndarray]) -> None:
    """Write pictures (H, W, 3) uint8 into a run folder, by the observation's name. Raises RunError if that fails."""
    try:
        for name, picture in pictures.items():
            with replacing(folder / _FOLDER / f"{name}.png") as part:
                Image.fromarray(picture).save(part, "PNG", optimize=True)
    except OSError as error:
        raise RunError(f"cannot write {folder / _FOLDER}: {error.strerror or error}") from None


def read_pictures(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The PNG files of the observations that a run folder has pictures of, by name. Raises RunError as `read_bytes`."""
    files = {name: folder / _FOLDER / f"{name}.png" for name in names}
    return {name: read_bytes(file, _MOST_PICTURE) for name, file in files.items() if file.is_file()}
