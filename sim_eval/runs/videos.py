"""The index of a run's videos and contact sheets, in a file of its own: rendering never rewrites records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sim_eval.errors import RunError
from sim_eval.fields import check_fields
from sim_eval.files import locked, write_text
from sim_eval.runs.records import Record

INDEX = "videos.json"
_LOCK = ".videos.lock"

#: (sampler, episode) of everything that a file shows.
Shown = tuple[tuple[str, int], ...]


def read_index(folder: Path, records: Iterable[Record] = ()) -> dict[Path, Shown]:
    """What each rendered file of a run shows, oldest first; `records` of version 1 name their videos themselves.

    Raises RunError for a file of another layout.
    """
    index: dict[Path, Shown] = {}
    for record in records:
        video = record.extra.get("video")
        if isinstance(video, str):
            path = _resolved(folder, video)
            index[path] = (*index.get(path, ()), (record.sampler, record.episode))
    path = folder / INDEX
    if not path.is_file():
        return index
    try:
        entries = json.loads(path.read_bytes())
    except ValueError:
        raise RunError(f"{path} is not JSON: delete it, and render again") from None
    check_fields(str(path), {"the content": entries}, {"the content": list[dict[str, Any]]})
    for number, entry in enumerate(entries, 1):
        where = f"{path} entry {number}"
        entry = {"file": None, "shows": None, **entry}
        check_fields(where, entry, {"file": str, "shows": list[dict[str, Any]]})
        shown = [{"sampler": None, "episode": None, **episode} for episode in entry["shows"]]
        for episode in shown:
            check_fields(where, episode, {"sampler": str, "episode": int})
        file = _resolved(folder, entry["file"])
        index.pop(file, None)  # what was rendered again is the latest
        index[file] = tuple((episode["sampler"], episode["episode"]) for episode in shown)
    return index


def read_videos(folder: Path, records: Iterable[Record]) -> dict[tuple[str, int], Path]:
    """The latest video of each (sampler, episode) that a browser's player can show."""
    return {key: path for path, shown in read_index(folder, records).items() if path.suffix == ".mp4" for key in shown}


def update_index(folder: Path, add: Mapping[Path, Shown], remove: Iterable[Path] = ()) -> None:
    """List rendered files, and forget others. Raises RunError when the folder cannot be written."""
    with locked(folder / _LOCK):
        index = read_index(folder)
        for path in remove:
            index.pop(path.resolve(), None)
        for path, shown in add.items():
            index.pop(path.resolve(), None)
            index[path.resolve()] = shown
        entries = [
            {
                "file": os.path.relpath(path, folder.resolve()),
                "shows": [{"sampler": sampler, "episode": episode} for sampler, episode in shown],
            }
            for path, shown in index.items()
        ]
        lines = ",\n".join(map(json.dumps, entries))
        write_text(folder / INDEX, f"[\n{lines}\n]\n")


def _resolved(folder: Path, file: str) -> Path:
    return (folder / file).resolve()
