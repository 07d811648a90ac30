"""Write a run folder, which one process at a time opens for one configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from policies.observation import ObservationRequest
from sim_eval.config.tasks import TaskChoice
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_name
from sim_eval.foundation.files import locked, write_text, written
from sim_eval.foundation.machine import versions
from sim_eval.runs.design import DESIGN, Design
from sim_eval.runs.provenance import provenance, stored_request
from sim_eval.runs.reader import CONFIG, PROVENANCE, load_config, load_provenance, read_records
from sim_eval.runs.records import RECORDS, Record, append_all, drop_torn_line
from sim_eval.runs.videos import write_pictures
from tasks.packages import SIMULATION

#: The file that the process locks that writes the folder.
LOCK = ".lock"

# Options that may change when a run is resumed, as results do not depend on them. Samplers and episodes only grow.
_FREE = {"engine", "workers", "batch", "videos", "log", "output", "checkpoints", "samplers", "sampler", "episodes"}


@dataclass
class RunFolder:
    """An open, locked run folder.

    `done`: the records without errors, by (sampler, episode). An episode that ended in an error is run again, and its
    new record replaces the old one.
    """

    path: Path
    done: dict[tuple[str, int], Record]

    def append(self, record: Record, actions: np.ndarray) -> None:
        """`append_all` for one episode."""
        self.append_all([record], [actions])

    def append_all(self, records: Sequence[Record], actions: Sequence[np.ndarray]) -> None:
        """Store more episodes durably; the executed actions of each are (steps, D). Raises RunError if that fails."""
        append_all(self.path, records, actions)
        self.done |= {(record.sampler, record.episode): record for record in records}

    def note_unpaired(self, sampler: str) -> None:
        """Say in this process's account that the sampler's noise is not paired. Raises RunError as `open_run`."""
        *earlier, account = load_provenance(self.path)
        noted = {sampler, *account.get("unpaired_noise", [])}
        accounts = [*earlier, {**account, "unpaired_noise": sorted(noted)}]
        write_text(self.path / PROVENANCE, json.dumps(accounts, indent=2) + "\n")

    def keep_pictures(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Store pictures (H, W, 3) uint8 that the policy saw, by name, for the report. Raises RunError."""
        write_pictures(self.path, pictures)


@contextmanager
def open_run(
    path: Path,
    config: Mapping[str, Any],
    checkpoints: Mapping[str, str],
    request: ObservationRequest | None = None,
    design: Design | None = None,
    computation: Mapping[str, bool | str] | None = None,
) -> Iterator[RunFolder]:
    """Create or resume the run's folder, and lock it against other processes.

    `config`: content of config.yaml. `checkpoints`: role to SHA-256 of every model. `request`: what the policy
    observes. `design`: the study's; its hash and a copy of it are stored before the first record. `computation`: the
    policy's. A folder without records accepts any configuration. Raises RunError for a folder that is in use, holds
    something else, or was made with another configuration, other checkpoints, another request or another simulator
    version; the message names what differs.
    """
    named = {"task": TaskChoice.stored_as(config["task"]).full_name, "policy": config["policy"]}
    for what, name in [*named.items(), *(("samplers", sampler) for sampler in config["samplers"])]:
        check_name(what, name)
    with open_folder(path, CONFIG, RECORDS):
        stored, earlier, merged = load_config(path), load_provenance(path), dict(config)
        records = [] if stored is None else read_records(path, stored)
        if stored is None or not records:  # nothing has been recorded here yet
            earlier = []
        else:
            _check_same(path, stored, config)
            merged = _merged(stored, config)
        installed = versions()
        for account in earlier:
            _check_made_alike(path, account, checkpoints, installed)
            _check_observed_alike(path, account, request)
        write_text(path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(merged)))
        _keep_design(path, design, begun=bool(earlier))
        accounts = [*earlier, provenance(checkpoints, request, design.sha256 if design else None, computation)]
        write_text(path / PROVENANCE, json.dumps(accounts, indent=2) + "\n")
        done = {(record.sampler, record.episode): record for record in records if record.error is None}
        drop_torn_line(path)
        yield RunFolder(path, done)


def _keep_design(path: Path, design: Design | None, begun: bool) -> None:
    """Copy the design's file, byte for byte; a folder that has begun with one keeps that copy."""
    copy = path / DESIGN
    if design is not None and not (begun and copy.exists()):
        with written(copy) as part:
            part.write_bytes(design.path.read_bytes())
    elif not begun:
        copy.unlink(missing_ok=True)


def lock(folder: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing into the folder. Raises RunError if another one holds the lock."""
    return locked(folder / LOCK, f"another process is writing {folder}: wait for it or choose another output")


@contextmanager
def open_folder(path: Path, marker: str, begun: str) -> Iterator[None]:
    """Create the folder, and keep other processes from writing into it.

    A folder that is new is removed, with those above that were made for it, if the block ends before there is a file or
    folder `begun` in it: a failed start leaves nothing. Raises RunError as `lock`, if the folder cannot be created, and
    if it holds something, but no file `marker`.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    _make(path, marker)
    with lock(path):
        try:
            yield
        finally:
            if new and not (path / begun).exists():
                shutil.rmtree(path)
                for folder in new[1:]:
                    if not any(folder.iterdir()):
                        folder.rmdir()


def _make(path: Path, marker: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"output={path}: cannot be created: {error.strerror}") from None
    others = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
    if others and not (path / marker).exists():
        raise RunError(f"output={path} holds {others[0]} but no {marker}; accepted: a new folder or a run's folder")


def _check_same(path: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    here, there = _fixed(asked, stored), _fixed(stored, asked)
    differing = [
        f"{option} is {there.get(option)} there, {here.get(option)} asked"
        for option in sorted(here.keys() | there.keys())
        if here.get(option) != there.get(option)
    ]
    if asked["episodes"] < stored["episodes"]:
        differing.append(f"episodes is {stored['episodes']} there, {asked['episodes']} asked: it may only grow")
    if differing:
        raise RunError(
            f"output={path} belongs to another configuration: {'; '.join(differing)}. "
            f"Accepted: the same options, output=OTHER, or {path} deleted"
        )


def _fixed(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The options that must agree, flattened; samplers' options only if both configurations have the sampler."""
    flat = {option: value for option, value in config.items() if option not in _FREE}
    for name in config["sampler"].keys() & other["sampler"].keys():
        flat.update({f"sampler.{name}.{key}": value for key, value in config["sampler"][name].items()})
    task = flat.pop("task")
    return {**flat, **{"task" if key == "name" else f"task.{key}": value for key, value in task.items()}}


def _merged(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    samplers = [*stored["samplers"], *(name for name in asked["samplers"] if name not in stored["samplers"])]
    return {**asked, "samplers": samplers, "sampler": {**stored["sampler"], **asked["sampler"]}}


def _check_observed_alike(path: Path, account: Mapping[str, Any], request: ObservationRequest | None) -> None:
    here = None if request is None else stored_request(request)
    if here is not None and account.get("request", here) != here:
        there = account["request"]
        differing = [name for name in here if there.get(name) != here[name]]
        raise RunError(
            f"output={path} was made with another request of the policy: "
            + "; ".join(f"{name} is {there.get(name)} there, {here[name]} now" for name in differing)
            + "; choose another output"
        )


def _check_made_alike(
    path: Path, account: Mapping[str, Any], checkpoints: Mapping[str, str], installed: Mapping[str, str]
) -> None:
    for role, digest in checkpoints.items():
        if (stored := account["checkpoints"].get(role, digest)) != digest:
            raise RunError(
                f"output={path} was made with another {role}: its hash is {stored} there, {digest} now; "
                "choose another output"
            )
    for package in SIMULATION:
        version = installed.get(package, "none")
        if (stored := account["versions"].get(package, version)) != version:
            raise RunError(
                f"output={path} was made with {package} {stored}, {version} is installed, which simulates another "
                "task; choose another output"
            )
