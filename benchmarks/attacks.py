"""Damages files that anybody may have written, in many ways, and counts what must never happen.

usage: python -m benchmarks.attacks [CASES [SEED [TARGET ...]]]

A run folder is read, compared, exported and shown on the page; a folder of `sim-eval learn` is drawn; a robomimic file,
a checkpoint of this suite and LeRobot folders are loaded. An error of one line is right. Counted are tracebacks (any
other exception), cases that take over 5 s, and cases in which code ran that a file names.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml  # type: ignore[import-untyped]

from benchmarks import made_run
from benchmarks.mutations import NASTY, change_bytes, change_file, change_value
from policies.errors import PolicyError
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import sha256

LONGEST_S = 5.0
_MEMORY = 24 * 2**30


class _TooLong(BaseException):
    """Raised by the alarm; no `except Exception` on the way may swallow it."""


@dataclass
class Target:
    """What is damaged, and what reads it. `make` writes a sound folder; `attack` damages it; `read` reads it.

    `apart`: whether each case has a process of its own, as the library that reads it may crash.
    """

    make: Callable[[Path], None]
    attack: Callable[[Path, random.Random, Path], None]
    read: Callable[[Path], None]
    apart: bool = False
    found: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def run(target: Target, sound: Path, case: random.Random, place: Path) -> None:
    """One case: a damaged copy is read, and the outcome counted."""
    shutil.rmtree(place, ignore_errors=True)
    folder, mark = place / "attacked", place / "executed"
    shutil.copytree(sound, folder, symlinks=True)
    target.attack(folder, case, mark)
    outcome, example = _apart(target, folder) if target.apart else _outcome(target, folder)
    target.found[outcome] += 1
    target.found["executed"] += mark.exists()
    if example:
        target.examples.setdefault(" ".join(example.split()[-12:]), example)


def _apart(target: Target, folder: Path) -> tuple[str, str]:
    """The outcome of a case in a process of its own."""
    told = folder.parent / "outcome"
    if not (child := os.fork()):
        told.write_text(json.dumps(_outcome(target, folder)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "crashed", ""
    outcome, example = json.loads(told.read_text())
    return outcome, example


def _outcome(target: Target, folder: Path) -> tuple[str, str]:
    """How reading ends, and the traceback of what must not happen."""
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            target.read(folder)
    except (RunError, PolicyError) as error:
        if "\n" in str(error):
            return "more than a line", traceback.format_exc()
        return "over 5 s" if time.monotonic() - begun > LONGEST_S else "refused", ""
    except _TooLong:
        return "over 5 s", traceback.format_exc()
    except Exception:  # what is counted
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read", ""


def _damage_texts(names: tuple[str, ...]) -> Callable[[Path, random.Random, Path], None]:
    """Damages one of the JSON or YAML files of these names: a value, the bytes, or the file as a whole."""

    def attack(folder: Path, draw: random.Random, mark: Path) -> None:
        path = folder / draw.choice(names)
        how = draw.random()
        if how < 0.1:
            change_file(path, draw)
        elif how < 0.3:
            path.write_bytes(change_bytes(path.read_bytes(), draw))
        elif path.suffix == ".jsonl":
            lines = path.read_text().splitlines()
            number = draw.randrange(len(lines))
            lines[number] = json.dumps(change_value(json.loads(lines[number]), draw, mark))
            path.write_text("\n".join(lines) + "\n")
        else:
            content = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
            path.write_text(json.dumps(change_value(content, draw, mark)))  # JSON is YAML

    return attack


def _make_run(folder: Path) -> None:
    made_run.write(folder / "run", "can", {"unsteered": [0, 1, 1], "qpilots_u": [1, 1, 0]})
    (folder / "run" / "videos.json").write_text(
        json.dumps([{"file": "films/a.mp4", "shows": [{"sampler": "unsteered", "episode": 0}]}])
    )
    account = json.loads((folder / "run" / "provenance.json").read_text())
    request = {"names": ["agentview_image", "instruction"], "image_size": 64, "image_orientation": "upright"}
    (folder / "run" / "provenance.json").write_text(json.dumps([{**account[0], "request": request}]))


def _read_run(folder: Path) -> None:
    from sim_eval.analysis.compare import compare
    from sim_eval.report import html, markdown, terminal
    from sim_eval.report.export import export
    from sim_eval.runs.foreign import UNDESCRIBED

    _show(folder)
    comparison = compare([folder / "run"])
    terminal.terminal(comparison, 100).encode()
    markdown.markdown(comparison).encode()
    html.html(comparison, folder).encode()
    for kind in ("csv", "latex", "parquet", "lerobot", "vla_eval"):
        with contextlib.suppress(RunError):  # a format without a place for what the run holds
            export([folder / "run"], kind, folder / f"out.{kind}", UNDESCRIBED, "unsteered")


def _show(folder: Path) -> None:
    """What the page lists, as it answers; RunError is an entry there, and no folder keeps others from being shown."""
    from sim_eval.view.catalog import Catalog
    from sim_eval.view.entry import Videos
    from sim_eval.view.query import Query, answer

    with _no_defects():
        entries = Catalog(folder, Videos((folder.resolve(),))).refresh(60)
    json.dumps(answer(entries, Query()))


@contextlib.contextmanager
def _no_defects() -> Any:
    """Raise what the page would log as a defect and list as a broken folder."""
    from sim_eval.view import entry

    def raised(*unused: Any) -> None:
        raise

    told = entry._log.exception
    entry._log.exception = raised  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        entry._log.exception = told  # type: ignore[method-assign]


def _make_learned(folder: Path) -> None:
    options = {"task": {"name": "can"}, "policy": "flow", "sampler": {"edit": {}}, "evaluate": 100, "seed": 0}
    (folder / "learned").mkdir(parents=True)
    (folder / "learned" / "options.json").write_text(json.dumps({**options, "fingerprints": {"policy": "abc"}}))
    curve = [{"steps": 110 * k, "outcomes": [True, False, True], "mean_q": 0.5} for k in range(3)]
    (folder / "learned" / "curve.json").write_text(json.dumps(curve))


def _read_learned(folder: Path) -> None:
    from sim_eval.analysis.curves import read_curves
    from sim_eval.report import learning_curves

    _show(folder)
    learning_curves.html(read_curves([folder / "learned"])).encode()


def _make_hdf5(folder: Path) -> None:
    from sim_eval.training.trajectories import Trajectory, write_hdf5

    draws = np.random.default_rng(0)
    episodes = [
        Trajectory(
            {"object": draws.normal(size=(6, 14)).astype(np.float32)},
            draws.uniform(-1, 1, (6, 7)).astype(np.float32),
            bool(number),
            {"agentview_image": np.zeros((2, 8, 8, 3), np.uint8), "instruction": np.array(["lift"] * 2)},
            3,
        )
        for number in range(3)
    ]
    write_hdf5(folder / "demos.hdf5", episodes, "lift")


def _damage_hdf5(folder: Path, draw: random.Random, mark: Path) -> None:
    path = folder / "demos.hdf5"
    if (how := draw.random()) < 0.05:
        return change_file(path, draw)
    if how < 0.35:
        path.write_bytes(change_bytes(path.read_bytes(), draw))
        return None
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = draw.choice(names)
        kind = draw.randrange(4)
        if kind == 0:
            attribute = draw.choice(("env_args", "stride", "policy_sha256", "num_samples"))
            with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
                file[draw.choice(("data", "data/demo_1"))].attrs[attribute] = draw.choice(NASTY)
            return None
        if kind == 1:
            file["data"].attrs["env_args"] = json.dumps(
                change_value({"env_name": "lift", "env_kwargs": {}}, draw, mark)
            )
            return None
        del file[name]
        if kind == 2:
            links = (h5py.SoftLink("/data/demo_0"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("/dev/zero", "/data"))
            file[name] = draw.choice((*links, h5py.ExternalLink("demos.hdf5", "/data/demo_0/actions")))
            return None
        arrays: tuple[Any, ...] = (
            np.zeros(0),
            np.zeros((6, 0)),
            np.full((6, 7), np.nan),
            np.full((6, 7), 1e300),
            np.zeros((6, 7), "i8"),
        )
        arrays += (np.array(3.0), np.zeros((6, 7), "c8"), np.array([b"x"] * 6), np.zeros((6, 2, 2)), np.zeros(6, "?"))
        arrays += (np.zeros(6, [("a", "f4")]), np.zeros((6, 7), "f2"), np.full(6, -1.0), np.full((6, 7), 2**62))
        file[name] = draw.choice(arrays)
    return None


def _read_hdf5(folder: Path) -> None:
    from sim_eval.training.trajectories import policy_of, read_hdf5

    policy_of(folder / "demos.hdf5")
    for trajectory in read_hdf5(folder / "demos.hdf5", task="lift"):
        for row in range(len(trajectory.decision_steps)):
            trajectory.decision(row)


def _make_checkpoint(folder: Path) -> None:
    from sim_eval.foundation.files import resource as shipped

    (folder / "can").mkdir(parents=True)
    for name in ("flow.json", "flow.safetensors"):
        shutil.copy(shipped("checkpoints") / "can" / name, folder / "can" / name)


def _damage_checkpoint(folder: Path, draw: random.Random, mark: Path) -> None:
    card, weights = folder / "can" / "flow.json", folder / "can" / "flow.safetensors"
    how = draw.random()
    if how < 0.1:
        return change_file(draw.choice((card, weights)), draw)
    if how < 0.2:
        card.write_bytes(change_bytes(card.read_bytes(), draw))
        return None
    content = json.loads(card.read_text())
    if how < 0.5:
        content = change_value(content, draw, mark)
    elif how < 0.8:
        content["config"] = change_value(content["config"], draw, mark)
    else:
        head = weights.read_bytes()
        place = draw.choice((len(head), 3000))
        weights.write_bytes(change_bytes(head[:place], draw) + head[place:])
        content["weights_sha256"] = sha256(weights)
    card.write_text(json.dumps(content))
    return None


def _read_checkpoint(folder: Path) -> None:
    from sim_eval.models.checkpoints import fingerprints, load_policy

    load_policy("can", "flow", folder)
    fingerprints(folder, "can", "policy", "flow")


def _make_lerobot(folder: Path) -> None:
    from benchmarks import tiny_lerobot

    tiny_lerobot.act(folder / "act")


def _damage_lerobot(folder: Path, draw: random.Random, mark: Path) -> None:
    names = ("config.json", "policy_preprocessor.json", "policy_postprocessor.json")
    states = sorted(path.name for path in (folder / "act").glob("*.safetensors"))
    if draw.random() < 0.15:
        path = folder / "act" / draw.choice(states)
        content = path.read_bytes()
        path.write_bytes(change_bytes(content[:2000], draw) + content[2000:])
    else:
        _damage_texts(names)(folder / "act", draw, mark)


def _read_lerobot(folder: Path) -> None:
    from policies.lerobot import build

    build(str(folder / "act"))


TARGETS = {
    "run folder": Target(
        _make_run,
        _damage_texts(("run/config.yaml", "run/provenance.json", "run/records.jsonl", "run/videos.json")),
        _read_run,
    ),
    "learning folder": Target(
        _make_learned, _damage_texts(("learned/options.json", "learned/curve.json")), _read_learned
    ),
    "HDF5 file": Target(_make_hdf5, _damage_hdf5, _read_hdf5, apart=True),
    "checkpoint": Target(_make_checkpoint, _damage_checkpoint, _read_checkpoint),
    "LeRobot folder": Target(_make_lerobot, _damage_lerobot, _read_lerobot),
}


def _too_long(*unused: Any) -> None:
    raise _TooLong


def main(cases: int, seed: int, *chosen: str) -> int:
    """Print the counts and the first example of each traceback. Returns how many cases went wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        for label, target in TARGETS.items():
            if chosen and label not in chosen:
                continue
            sound = Path(name) / "sound" / label
            sound.mkdir(parents=True)
            target.make(sound)
            target.read(sound)  # what it imports takes its time, and a sound folder must be read
            for case in range(cases):
                run(target, sound, random.Random(f"{seed} {label} {case}"), Path(name) / "place")
            bad = sum(
                target.found[what] for what in ("traceback", "over 5 s", "executed", "crashed", "more than a line")
            )
            wrong += bad
            print(f"{label}: {dict(target.found)}", flush=True)
            for text in target.examples.values():
                print("\n".join(text.splitlines()[-12:]))
    return wrong


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:3]]
    asked = numbers + [300, 0][len(numbers) :]
    sys.exit(bool(main(asked[0], asked[1], *sys.argv[3:])))
