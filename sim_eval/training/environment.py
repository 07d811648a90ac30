"""Whether the demonstrations of a file fit a task, as robomimic's `env_args` describe their environment.

Its meaning: robomimic.readthedocs.io, "Datasets": env_name, env_version (robosuite's) and env_kwargs, among them the
controller's configuration, in which control_delta says whether actions are changes of the pose.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sim_eval.training.hdf5_file import DatasetError
from tasks.libero_suites import is_libero
from tasks.registry import environment_of


def check_environment(path: Path, described: Mapping[str, Any], task: str | None) -> None:
    """Warn of another version of robosuite. `task`: the full name of the task that the file is for; None: any.

    Raises DatasetError for another environment, and for actions that are poses instead of changes of the pose.
    """
    name = described.get("env_name")
    if task is not None and name is not None and not _fits(name, task):
        accepted = environment_of(task) or "LIBERO's"
        raise DatasetError(f"{path}: env_name of env_args is {name!r:.80}; accepted for task {task}: {accepted}")
    for controller in _mappings(described.get("env_kwargs")):
        if controller.get("control_delta") is False or controller.get("input_type") == "absolute":
            raise DatasetError(
                f"{path}: env_args say that its actions are absolute (control_delta is false); accepted: changes of "
                "the pose, control_delta true"
            )
    stored = described.get("env_version")
    if isinstance(stored, str) and stored != (installed := _robosuite()):
        print(
            f"warning: {path} was recorded with robosuite {stored:.40}, {installed} is installed: the same actions may "
            "lead elsewhere",
            file=sys.stderr,
        )


def _fits(name: Any, task: str) -> bool:
    """Whether an environment is the task's; this suite's own files have the task's name."""
    if name == task:
        return True
    if is_libero(task):
        return isinstance(name, str) and name.lower().startswith("libero")
    known = environment_of(task)
    return known is None or name == known


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """The mapping and those in it: robosuite 1.5 nests a controller for each part of the body."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mappings(inner)


def _robosuite() -> str:
    try:
        return version("robosuite")
    except PackageNotFoundError:
        return "none"
