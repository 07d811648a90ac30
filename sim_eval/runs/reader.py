"""Reading a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.errors import RunError
from sim_eval.runs.records import Record, recorded
from sim_eval.runs.run_folder import load_config, load_provenance
from tasks.naming import full_name


@dataclass(frozen=True)
class Run:
    """A run folder as read; `name` tells it from the other runs of a comparison."""

    name: str
    folder: Path
    config: dict[str, Any]
    provenance: list[dict[str, Any]]
    records: list[Record]

    @property
    def setting(self) -> tuple[str, str]:
        """Task and policy: runs that share them are compared."""
        return full_name(**self.config["task"]), self.config["policy"]


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run folder, under its own name unless another is given. Raises RunError for what is none."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder")
    config = load_config(folder)
    if config is None:
        raise RunError(f"{folder} has no config.yaml: not a run folder")
    return Run(name or folder.name, folder, config, load_provenance(folder), recorded(folder))
