"""Data files of OGBench's oracles, written episode by episode, so that an interruption loses little.

scene-play-v0.npz.unfinished/   beside the file, until it is whole
  origin.json                   what the episodes depend on; others are played again
  000012.npz                    episode 12
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import locked, replacing
from sim_eval.rollout.workers import work_through
from sim_eval.training.play_files import DAMAGED_NPZ
from sim_eval.training.resumable import is_of, keep_only
from tasks.ogbench_domains import DOMAINS, Domain
from tasks.ogbench_play import OraclePlay
from tasks.packages import versions

#: Transitions of a whole episode in OGBench's files.
EPISODE_STEPS = 1000


class _Episode(NamedTuple):
    """An episode to play: its number, its transitions and its file."""

    number: int
    steps: int
    file: Path


def write_play(domain: str, steps: int, validation: int, seed: int, output: Path, workers: int) -> float:
    """Write `steps` transitions to `output` and, unless 0, `validation` others to the file `-val` beside it.

    Episodes follow from (seed, number), whatever `workers` is; those of the second file come after the first file's.
    Returns the steps a second that were played. Raises TaskError as `OraclePlay`, and RunError if another process
    writes the same file, or a file cannot be written.
    """
    folder = _unfinished(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock", busy=f"{folder} is in use by another command; accepted: another output"):
            keep_only(folder, _origin(domain, seed), "*.npz")
            training = _episodes(steps, 0, folder)
            checking = _episodes(validation, len(training), folder)
            speed = _play(domain, [*training, *checking], seed, workers)
            _join(output, training)
            if checking:
                _join(validation_path(output), checking)
            shutil.rmtree(folder)
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror or error}") from None
    return speed


def was_interrupted(domain: str, seed: int, output: Path) -> bool:
    """Whether the same data were being written to `output`, which may be there already, without its second file."""
    return is_of(_unfinished(output), _origin(domain, seed))


def _unfinished(output: Path) -> Path:
    return output.with_name(f"{output.name}.unfinished")


def _origin(domain: str, seed: int) -> dict[str, Any]:
    return {"domain": domain, "seed": seed, **versions(("ogbench", "mujoco"))}


def validation_path(output: Path) -> Path:
    """The second file, where OGBench looks for it."""
    return output.with_name(f"{output.stem}-val{output.suffix}")


def _episodes(steps: int, first: int, folder: Path) -> list[_Episode]:
    """Whole episodes, then a shorter one for what is left. A file's name tells its length."""
    lengths = [EPISODE_STEPS] * (steps // EPISODE_STEPS) + [steps % EPISODE_STEPS] * bool(steps % EPISODE_STEPS)
    return [
        _Episode(number, length, folder / f"{number:06d}-{length}.npz") for number, length in enumerate(lengths, first)
    ]


def _play(domain: str, episodes: Sequence[_Episode], seed: int, workers: int) -> float:
    """Play what is missing. Returns the steps a second."""
    missing = [episode for episode in episodes if not episode.file.exists()]
    done = sum(episode.steps for episode in episodes) - (todo := sum(episode.steps for episode in missing))
    if done:
        tqdm.write(f"{episodes[0].file.parent} holds {done} finished steps, which are kept")
    make: Any = partial(_player, DOMAINS[domain])
    started = time.perf_counter()
    progress = tqdm(total=todo + done, initial=done, unit="step", desc=f"{domain} play", disable=None)
    with progress, closing(work_through(missing, partial(_write, seed=seed), make, workers)) as played:
        for steps in played:
            progress.update(steps)
    return todo / (time.perf_counter() - started)


def _player(domain: Domain) -> OraclePlay:
    return OraclePlay(domain)


def _write(play: Any, episode: _Episode, seed: int) -> int:
    """Play an episode into its file, in the process that plays: a file a process, whatever their order."""
    rows = play.episode(seed, episode.number, episode.steps)
    with replacing(episode.file) as part:
        np.savez(part, **rows)
    return episode.steps


def _join(path: Path, episodes: Sequence[_Episode]) -> None:
    parts = []
    for episode in episodes:
        try:
            with np.load(episode.file) as rows:
                parts.append(dict(rows))
        except DAMAGED_NPZ:
            raise RunError(f"{episode.file} is damaged; accepted: the same command without that file") from None
    whole: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    with replacing(path) as file:
        np.savez_compressed(file, **whole)
