"""Playing of a data file that an interruption can delay but not lose.

Until all episodes are there, each finished one is a file of its own. After a kill or a crash the same command goes on
after them, to the same data file.

rollouts_flow.unfinished/   beside rollouts_flow.hdf5, which is written when all are there; then the folder is removed
  origin.json               what the episodes depend on; the command that goes on must have the same
  00012.hdf5                episode 12
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sim_eval.foundation.files import locked, write_text
from sim_eval.training.trajectories import Trajectory, join_hdf5, write_hdf5

_ORIGIN = "origin.json"
#: Plays the episodes that are not among the given ones, and yields each one's number and trajectory as it ends.
Play = Callable[[Collection[int]], Generator[tuple[int, Trajectory]]]


def play_to(
    path: Path, task: str, count: int, play: Play, origin: Mapping[str, Any], policy_sha256: str | None = None
) -> None:
    """Write the first `count` episodes, in the order of their numbers, to `path`, which is replaced if it is there.

    `origin`: the options and seed that determine an episode; what was played with others is played again.
    `policy_sha256`: the fingerprint of the policy that plays, if one does. Raises what `play` raises, and
    RunError if another process is playing to the same file.
    """
    folder = path.with_suffix(".unfinished")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", busy=f"{folder} is in use by another command; accepted: another data=DIR"):
        try:
            keep_only(folder, origin, "*.hdf5")
            finished = _finished(folder)
            if finished:
                tqdm.write(
                    f"{folder} holds {len(finished)} finished episodes, which are kept; delete it to play them again"
                )
            with closing(play(finished)) as played:
                for number, trajectory in played:
                    write_hdf5(folder / f"{number:05d}.hdf5", [trajectory], task)
            episodes = list(_finished(folder).values())[:count]
            join_hdf5(path, episodes, task, policy_sha256)
            shutil.rmtree(folder)
        finally:
            if folder.exists() and not _finished(folder):  # a start that failed leaves nothing
                shutil.rmtree(folder)


def _finished(folder: Path) -> dict[int, Path]:
    """The files of finished episodes by number, in order."""
    return dict(sorted((int(file.stem), file) for file in folder.glob("[0-9]*.hdf5")))


def keep_only(folder: Path, origin: Mapping[str, Any], episodes: str) -> None:
    """Delete the files `episodes`, a pattern, of another origin than this, and note this in `origin.json`."""
    if is_of(folder, origin):
        return
    for file in folder.glob(episodes):
        file.unlink()
    write_text(folder / _ORIGIN, _noted(origin))


def is_of(folder: Path, origin: Mapping[str, Any]) -> bool:
    """Whether an interrupted command of this origin has left the folder."""
    stored = folder / _ORIGIN
    return stored.exists() and stored.read_bytes() == _noted(origin).encode()


def _noted(origin: Mapping[str, Any]) -> str:
    return json.dumps(origin, indent=1, sort_keys=True, default=str)
