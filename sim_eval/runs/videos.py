"""The index of a run's videos and contact sheets, in a file of its own: rendering never rewrites records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from sim_eval.fields import read_entries
from sim_eval.files import locked, write_text
from sim_eval.runs.records import Record

INDEX = "videos.json"
_LOCK = ".videos.lock"

#: (sampler, episode) of everything that a file shows.
Shown = tuple[tuple[str, int], ...]


class _Episode(TypedDict):
    sampler: str
    episode: int


class _Entry(TypedDict):
    file: str
    shows: list[_Episode]


def read_index(folder: Path, records: Iterable[Record] = ()) -> dict[Path, Shown]:
    """What each rendered file of a run shows, oldest first; `records` of version 1 name their videos themselves.

    Raises RunError for a file of another layout.
    """
    index: dict[Path, Shown] = {}
    for record in records:
        video = record.extra.get("video")
        if isinstance(video, str):
            path = (folder / video).resolve()
            index[path] = (*index.get(path, ()), (record.sampler, record.episode))
    for entry in read_entries(folder / INDEX, _Entry):
        path = (folder / entry["file"]).resolve()
        index.pop(path, None)  # what was rendered again is the latest
        index[path] = tuple((episode["sampler"], episode["episode"]) for episode in entry["shows"])
    return index


def read_videos(folder: Path, records: Iterable[Record]) -> dict[tuple[str, int], Path]:
    """The latest video of each (sampler, episode) that a browser's player can show."""
    return {key: path for path, shown in read_index(folder, records).items() if path.suffix == ".mp4" for key in shown}


def update_index(folder: Path, add: Mapping[Path, Shown], remove: Iterable[Path] = ()) -> None:
    """List rendered files, and forget others. Raises RunError when the folder cannot be written."""
    with locked(folder / _LOCK):
        index = read_index(folder)
        for path in (*add, *remove):
            index.pop(path.resolve(), None)
        index.update({path.resolve(): shown for path, shown in add.items()})
        entries = [
            {
                "file": os.path.relpath(path, folder.resolve()),
                "shows": [{"sampler": sampler, "episode": episode} for sampler, episode in shown],
            }
            for path, shown in index.items()
        ]
        lines = ",\n".join(map(json.dumps, entries))
        write_text(folder / INDEX, f"[\n{lines}\n]\n")
