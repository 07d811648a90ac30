"""Read a run folder. Content of another run or of the wrong type ends with a one-line error."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from policies.observation import ObservationRequest
from sim_eval.config.tasks import StoredTask, TaskChoice
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import STORED_TASK, check_fields, check_name, check_optional, load_yaml, read_entries
from sim_eval.foundation.formatting import html_table, percent
from sim_eval.rollout.keys import BLOCKS, episode_key
from sim_eval.runs.records import Record, read
from sim_eval.runs.videos import SHEET, VIDEO, latest, read_index
from tasks.packages import SIMULATION

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "config.yaml"
PROVENANCE = "provenance.json"


class _Config(TypedDict):
    """The required fields of a run's configuration."""

    task: StoredTask
    policy: str
    critic: str | None
    samplers: list[str]
    sampler: dict[str, dict[str, Any]]
    episodes: int
    seed: int
    block: str


#: Fields that a configuration need not have.
_OPTIONAL = {
    "critic_options": dict[str, Any],
    "policy_options": dict[str, Any],
    "posterior_options": dict[str, Any],
    "posterior": str | None,
    "policy_target": str | None,
    "critic_target": str | None,
    "checkpoints": str | None,
    "device": str,
    "until": str | None,
}


class _Machine(TypedDict):
    processor: str
    cores: int
    memory_gb: float
    platform: str


class _Git(TypedDict):
    commit: str
    dirty: bool


class _Account(TypedDict):
    """The required fields of each account in the provenance."""

    versions: dict[str, str]
    checkpoints: dict[str, str]
    machine: _Machine
    git: _Git | None


#: Fields that an account need not have, and those of a policy's request.
_ACCOUNT = {"started": str, "command": list[str], "request": dict[str, Any], "design": str}
_REQUEST = {
    "names": list[str],
    "image_size": int,
    "image_orientation": str,
    "history": int,
    "reflections": bool,
    "multisampling": bool,
}


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder as read. `name` identifies it among other runs; `videos`: latest MP4 by (sampler, episode);
    `sheets`: latest contact sheet.

    `foreign`: the name of another harness's file, `folder`, that it was read from. Its episodes cannot be paired, and
    `notes` says what a reader must know about them. None: a run folder of this suite.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    provenance: list[dict[str, Any]]
    records: list[Record]
    videos: dict[tuple[str, int], Path] = field(default_factory=dict)
    sheets: dict[tuple[str, int], Path] = field(default_factory=dict)
    foreign: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> TaskChoice:
        return TaskChoice.stored_as(self.config["task"])

    @property
    def setting(self) -> tuple[str, str]:
        """Task and policy; runs that share both are compared."""
        return self.task.full_name, self.config["policy"]

    @property
    def request(self) -> ObservationRequest | None:
        """The policy's observations; None for runs of earlier versions. Raises RunError if it is damaged."""
        stored = self.provenance[-1].get("request") if self.provenance else None
        try:
            return None if stored is None else ObservationRequest(**stored)
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.folder / PROVENANCE}: request is no request ({error})") from None

    @property
    def simulator(self) -> dict[str, list[str]]:
        """The versions of each package that simulates, the latest last: a run may be resumed with another."""
        recorded = [account["versions"] for account in self.provenance]
        found = {package: [versions[package] for versions in recorded if package in versions] for package in SIMULATION}
        return {package: list(dict.fromkeys(versions)) for package, versions in found.items() if versions}

    @property
    def instructions(self) -> list[str]:
        """The instructions of its episodes, each once; none in runs of earlier versions."""
        return list(dict.fromkeys(record.instruction for record in self.records if record.instruction))

    def video(self, record: Record) -> Path | None:
        """Where the record's video is or was; None if none was rendered."""
        return self.videos.get((record.sampler, record.episode))

    def __repr__(self) -> str:
        task, policy = self.setting
        return f"<Run {self.folder}: {task}, {policy}, {len(self.records)} episodes>"

    def _repr_html_(self) -> str:
        """How a notebook shows the run: a row a sampler. Success is of the episodes without an error."""
        rows = []
        for sampler in dict.fromkeys(record.sampler for record in self.records):
            played = [record for record in self.records if record.sampler == sampler]
            ended = [record for record in played if record.error is None]
            rate = sum(record.success for record in ended) / len(ended) if ended else None
            rows.append((sampler, str(len(ended)), percent(rate), str(len(played) - len(ended))))
        task, policy = self.setting
        return html_table(f"{self.folder}: {task}, {policy}", ("sampler", "episodes", "success %", "errors"), rows)


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run folder; `name` defaults to the folder's. Raises RunError if it is not a run folder or is damaged."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder")
    config = load_config(folder)
    if config is None:
        raise RunError(f"{folder} has no {CONFIG}: not a run folder")
    records = read_records(folder, config)
    index = read_index(folder, records)
    accounts, videos, sheets = load_provenance(folder), latest(index, VIDEO), latest(index, SHEET)
    return Run(name or folder.name, folder, config, accounts, records, videos, sheets)


def load_config(folder: Path) -> dict[str, Any] | None:
    """A run folder's configuration; None if there is no config.yaml. Raises RunError if it is not a run's."""
    path = folder / CONFIG
    if not path.exists():
        return None
    config = load_yaml(path)
    check_fields(str(path), config, get_type_hints(_Config))
    if config["block"] not in BLOCKS:
        raise RunError(f"{path}: block is {config['block']:.80}; accepted: {', '.join(BLOCKS)}")
    check_fields(f"{path}: sampler", config["sampler"], dict.fromkeys(config["samplers"], dict[str, Any]))
    check_optional(str(path), config, _OPTIONAL)
    check_optional(f"{path}: task", config["task"], STORED_TASK)
    names = {"task": TaskChoice.stored_as(config["task"]).full_name, "policy": config["policy"]}
    for what, name in [*names.items(), *(("samplers", name) for name in config["samplers"])]:
        check_name(f"{path}: {what}", name)  # they become parts of paths
    return config


def load_provenance(folder: Path) -> list[dict[str, Any]]:
    """One account per start or resumption of the run. Raises RunError if the file is damaged."""
    path = folder / PROVENANCE
    accounts = read_entries(path, _Account)
    for account in accounts:
        check_optional(str(path), account, _ACCOUNT)
        account.setdefault("started", "")
        account.setdefault("command", [])
        request = account.get("request", {})
        check_optional(f"{path}: request", request, _REQUEST)
        for name in request.get("names", []):
            check_name(f"{path}: request: names", name)  # a picture's file is called so
    return accounts


def read_records(folder: Path, config: Mapping[str, Any]) -> list[Record]:
    """The records of a run with this configuration. Raises RunError for a line of another run."""
    return read(folder, functools.partial(_check_own, config))


def _check_own(config: Mapping[str, Any], where: str, record: Record) -> None:
    task, seed, block = TaskChoice.stored_as(config["task"]).full_name, config["seed"], config["block"]
    key = episode_key(task, seed, record.episode, block)
    expected = {"task": task, "policy": config["policy"], "env_seed": key.env_seed, "noise_seed": key.noise_seed}
    for name, value in expected.items():
        if getattr(record, name) != value:
            raise RunError(
                f"{where}: {name} is {getattr(record, name)}, but this run (seed={seed} block={block}) has {value} "
                f"in episode {record.episode}: the line is another run's"
            )
    if record.sampler not in config["samplers"]:
        raise RunError(f"{where}: sampler is {record.sampler}; accepted: this run's, {', '.join(config['samplers'])}")
    if record.episode >= config["episodes"]:
        raise RunError(f"{where}: episode is {record.episode}; accepted: below this run's {config['episodes']}")


def records_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """One row per record, errors included, in the order of the runs and of their files.

    Columns: `run`, the run's name; `seed` and `block` of its keys; then the record's fields. Nested fields become
    columns: `policy_rows`, not `cost`. What another harness ran has neither seed nor block, and made-up keys.
    """
    import pandas as pd  # takes 0.4 s; only tables need it

    rows = [
        {"run": run.name, "seed": run.config.get("seed"), "block": run.config.get("block"), **asdict(record)}
        for run in runs
        for record in run.records
    ]
    for row in rows:
        cost = row.pop("cost")
        row |= row.pop("extra") | cost.pop("extra") | cost
    return pd.DataFrame(rows)
