"""A study's design: what it compares, fixed in a file before its first episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.config.values import one_of, shown
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, load_yaml
from sim_eval.foundation.files import sha256

#: A run folder's own copy of its design.
DESIGN = "design.yaml"

#: The correction of the paired tests that reports make.
HOLM = "holm"
_FIELDS = {
    "tasks": list[str],
    "policy": str,
    "samplers": list[str],
    "episodes": int,
    "seed": int,
    "correction": str,
    "reference": str,
}


@dataclass(frozen=True)
class Design:
    """The content of a design file, and its SHA-256, which a run stores before it plays.

    `tasks`: full names, such as libero_goal_7. `episodes`: of each sampler on each task. `reference`: the label of the
    row that the others are compared with.
    """

    path: Path
    sha256: str
    tasks: tuple[str, ...]
    policy: str
    samplers: tuple[str, ...]
    episodes: int
    seed: int
    correction: str
    reference: str

    def check(self, task: str, asked: dict[str, Any]) -> None:
        """Raise RunError unless the design has the task, and the options `asked`, by name, are its own."""
        if task not in self.tasks:
            raise RunError(f"design={self.path} has no task {task}; accepted: {', '.join(self.tasks)}")
        for option, value in asked.items():
            fixed = getattr(self, option)
            if value != fixed and not (option == "samplers" and sorted(value) == sorted(fixed)):
                raise RunError(f"{option} is {_said(value)}; accepted with design={self.path}: {_said(fixed)}")


def read_design(path: Path) -> Design:
    """Read a design file, YAML or JSON. Raises RunError naming a field that is missing, unknown or of a wrong kind."""
    values = load_yaml(path)
    where = f"design={path}"
    if lacking := [name for name in _FIELDS if name not in values]:
        raise RunError(f"{where} lacks {', '.join(lacking)}; accepted: a mapping with {', '.join(_FIELDS)}")
    check_fields(where, values, _FIELDS)
    for name in values:
        one_of(f"{where}: field", name, _FIELDS)
    one_of(f"{where}: correction", values["correction"], (HOLM,))
    for name in ("tasks", "samplers"):
        if not values[name] or len(set(values[name])) < len(values[name]):
            raise RunError(f"{where}: {name} is {shown(values[name])}; accepted: one or more names, each once")
    one_of(f"{where}: reference", values["reference"], values["samplers"])
    lists = {name: tuple(values[name]) for name in ("tasks", "samplers")}
    return Design(path, sha256(path), **{**values, **lists})


def _said(value: int | str | Sequence[str]) -> str:
    return str(value) if isinstance(value, int | str) else ",".join(value)
