"""Commands that are killed with SIGKILL again and again until they end, and the records that this loses or doubles.

    python -m benchmarks.kills [points=100] [seed=0] [only=evaluate,...]

Each command runs once undisturbed. Then it is killed, at a random time after its start or near a random write of what
it makes, and repeated, until it has been killed its share of `points` times; then it is left to end. Whenever it
has ended before, the next folder begins. A command is a fork of this process, which has drawn nothing and has imported
what takes its time. Counted are records that were there before a kill or its repetition and are
not afterwards, records that are there twice, and folders whose final content differs from the undisturbed one's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sim_eval.commands import cli
from sim_eval.foundation.files import sha256
from sim_eval.runs.records import RECORDS, read

#: What a folder holds: content by name. A name may be there several times.
Content = list[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """What is killed. `arguments` of sim-eval, with FOLDER in the place of a folder.

    kept: the records in the folder. end: the content of a folder whose command has ended.
    """

    arguments: str
    kept: Callable[[Path], Content]
    end: Callable[[Path], Content]


def records(folder: Path) -> Content:
    """A run's records, without times; a last line that is torn is none."""
    if not (folder / RECORDS).exists():
        return []
    found = []
    for record in read(folder):
        untimed = dataclasses.replace(record, wall_s=0.0, cost=dataclasses.replace(record.cost, decision_ms=None))
        found.append((f"{record.sampler} {record.episode}", repr(untimed)))
    return found


def recorded(folder: Path) -> Content:
    """Records and executed actions of a run."""
    return records(folder) + arrays(folder / "actions")


def episodes(folder: Path) -> Content:
    """Finished episodes of a data file that is not whole yet, and the whole one, as it is on disk."""
    files = [*folder.rglob("*.unfinished/[0-9]*"), *folder.rglob("replay/[0-9]*")]
    return [(path.name, sha256(path)) for path in files]


def arrays(folder: Path) -> Content:
    """The arrays of all files of the folder."""
    found = []
    for path in sorted(folder.rglob("[!.]*")):
        if path.suffix == ".hdf5":
            with h5py.File(path) as file:
                parts: dict[str, np.ndarray] = {}
                file.visititems(
                    lambda name, item, parts=parts: (
                        parts.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                    )
                )
            found.append((str(path.relative_to(folder)), _digest(parts)))
        elif path.suffix == ".npz":
            with np.load(path) as rows:
                found.append((str(path.relative_to(folder)), _digest(dict(rows))))
        elif path.suffix in (".npy", ".safetensors"):
            found.append((str(path.relative_to(folder)), sha256(path)))
    return found


def learned(folder: Path) -> Content:
    """Replay, weights and curve of a learner."""
    return [*arrays(folder), ("curve", (folder / "curve.json").read_text())]


def _digest(parts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = np.asarray(parts[name])
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes() if value.dtype != object else repr(value.tolist()).encode())
    return digest.hexdigest()


#: A task and a policy that start quickly.
_OWN = "task=examples/own_task.py:Puck policy=examples/own_task.py:Push"

COMMANDS = {
    "evaluate": Command(
        f"evaluate {_OWN} critic=none samplers=unsteered episodes=40 batch=3 workers=2 output=FOLDER", records, recorded
    ),
    "evaluate whole episodes": Command(
        f"evaluate {_OWN} critic=none samplers=unsteered episodes=30 workers=3 output=FOLDER", records, recorded
    ),
    "learn": Command(
        f"learn {_OWN} samplers=best_of_n steps=300 rollouts=6 round=4 episodes=3 evaluate=150 updates=20 workers=0 "
        "output=FOLDER",
        episodes,
        learned,
    ),
    "train demos": Command("train task=lift stage=demos demos=12 workers=2 data=FOLDER", episodes, arrays),
    "train rollouts": Command(
        f"train {_OWN} stage=rollouts rollouts=30 workers=2 data=FOLDER checkpoints=FOLDER", episodes, arrays
    ),
    "data": Command(
        "data task=ogbench task.env=cube-single steps=4500 validation=1000 workers=2 output=FOLDER/play.npz",
        episodes,
        arrays,
    ),
}


def start(command: Command, folder: Path) -> ForkProcess:
    process = ForkProcess(target=_run, args=(command.arguments.replace("FOLDER", str(folder)).split(), folder.parent))
    process.start()
    return process


def _run(arguments: list[str], place: Path) -> None:
    """The command, in a process of its own that prints to `place`/log."""
    with (place / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv = ["sim-eval", *arguments]
    cli.main()


def finish(command: Command, folder: Path) -> tuple[float, int]:
    """Let the command end. Returns its seconds, and how many writes were seen. Raises SystemExit if it fails."""
    begun = time.monotonic()
    process = start(command, folder)
    seen = watch(process, folder, None, None)
    process.join()
    _check(process, folder)
    return time.monotonic() - begun, seen


def watch(process: ForkProcess, folder: Path, latest: float | None, most: int | None) -> int:
    """Wait for the end of the process, a time or a number of writes, whichever comes first. Returns the writes."""
    seen, count = _state(folder), 0
    while process.is_alive() and (latest is None or time.monotonic() < latest) and (most is None or count < most):
        time.sleep(0.003)
        if (now := _state(folder)) != seen:
            seen, count = now, count + 1
    return count


def _check(process: ForkProcess, folder: Path) -> None:
    if process.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a command failed:\n{(folder.parent / 'log').read_text()[-3000:]}")


def kill(process: ForkProcess, folder: Path, draw: random.Random, longest: float, writes: int) -> bool:
    """Kill it at a random time, or near one of its first `writes` writes. Returns whether it was still running."""
    if draw.random() < 0.2:
        watch(process, folder, time.monotonic() + draw.uniform(0, longest), None)
    else:
        watch(process, folder, time.monotonic() + longest, draw.randint(1, writes))
        time.sleep(draw.choice((0, 0, 0.01, 0.05, 0.5)))
    process.kill()
    process.join()
    _check(process, folder)
    return process.exitcode != 0


#: Written at each start, before anything is played.
_AT_START = ("config", "provenance", "options", "origin", "lock")


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file that holds results, whole or in part: what changes when they are written."""
    found = {}
    for path in folder.rglob("*"):
        if path.name.lstrip(".").startswith(_AT_START):
            continue
        try:
            stat = path.lstat()
        except FileNotFoundError:
            continue
        found[str(path)] = stat.st_size, stat.st_mtime_ns
    return found


def _has_whole_file(folder: Path) -> bool:
    """Whether the data file that the command makes is there. Its episodes' files are removed after that."""
    files = (path for path in folder.rglob("*") if path.suffix in (".hdf5", ".npz"))
    return any("replay" not in path.parts and ".unfinished" not in str(path) for path in files)


def repeat(command: Command, points: int, draw: random.Random, place: Path) -> Counter[str]:
    """Kill the command `points` times, in as many folders as that takes. Returns what was counted."""
    found: Counter[str] = Counter()
    longest, writes = finish(command, place / "undisturbed" / "folder")
    expected = sorted(command.end(place / "undisturbed" / "folder"))
    before: Content = []
    number, folder = 0, place / "0" / "folder"
    folder.parent.mkdir()
    while found["kills"] < points:
        running = kill(start(command, folder), folder, draw, longest, max(1, writes))
        now = command.kept(folder)
        whole = not running or _has_whole_file(folder)
        if running:
            found["kills"] += 1
            lost = Counter(before) - Counter(now)
            # Episodes of a data file that is whole are in it, and their own files go; the end is compared.
            found["lost"] += 0 if whole and command.kept is episodes else lost.total()
            found["records that were there at a kill"] += len(now)
            print(f"{found['kills']} of {points} kills, {len(now)} records there", file=sys.stderr, flush=True)
        if not running or found["kills"] == points:
            finish(command, folder) if running else None
            found["folders"] += 1
            names = Counter(name for name, _ in command.end(folder))
            found["doubled"] += sum(count - 1 for count in names.values())
            found["other at the end"] += sorted(command.end(folder)) != expected
            number, before = number + 1, []
            folder = place / str(number) / "folder"
            folder.parent.mkdir()
        else:
            before = now
    return found


def main(points: int, seed: int, only: tuple[str, ...]) -> int:
    """Print what was counted for each command. Returns how many records and folders were not as they should be."""
    chosen = only or tuple(COMMANDS)
    wrong = 0
    for module in ("evaluation.evaluate", "training.online", "training.stages", "training.play_data"):
        importlib.import_module(f"sim_eval.{module}")
    for place, name in enumerate(chosen):
        share = points // len(chosen) + (place < points % len(chosen))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "undisturbed").mkdir()
            found = repeat(COMMANDS[name], share, random.Random(f"{seed} {name}"), Path(folder))
        names = ("kills", "records that were there at a kill", "lost", "doubled", "folders", "other at the end")
        print(f"{name}: {json.dumps({each: found[each] for each in names})}", flush=True)
        wrong += found["lost"] + found["doubled"] + found["other at the end"]
    return wrong


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    named = tuple(filter(None, given.get("only", "").split(",")))
    sys.exit(bool(main(int(given.get("points", 100)), int(given.get("seed", 0)), named)))
