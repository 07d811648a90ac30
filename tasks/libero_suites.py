"""LIBERO's five suites: how many tasks each has, how long an episode lasts, where hf-libero keeps their files."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tasks.task import TaskError

LIBERO_VERSION = "0.1.4"

#: Initial states in the init file of every task: the starts on which published success rates are counted.
INIT_STATES = 50


@dataclass(frozen=True)
class LiberoSuite:
    """A suite's name, its number of tasks, and the control steps that published evaluations allow an episode."""

    name: str
    tasks: int
    max_steps: int


SUITES = {
    suite.name: suite
    for suite in (
        LiberoSuite("libero_spatial", 10, 220),
        LiberoSuite("libero_object", 10, 280),
        LiberoSuite("libero_goal", 10, 300),
        LiberoSuite("libero_10", 10, 520),
        LiberoSuite("libero_90", 90, 400),
    )
}


@dataclass(frozen=True)
class LiberoFiles:
    """One task's files in the hf-libero package; both are named after the task."""

    bddl: Path
    init_states: Path


def published_starts(task: str) -> int | None:
    """How many starts the benchmark of the task of this full name publishes: env_seed 0, 1, ... name them. None where
    it publishes none."""
    return INIT_STATES if task in SUITES or task.rpartition("_")[0] in SUITES else None


def task_files(suite: LiberoSuite, index: int) -> LiberoFiles:
    """The files of the suite's task number `index`, in LIBERO's default order.

    Raises TaskError for an index outside the suite, and when hf-libero is missing or of another release.
    """
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < suite.tasks:
        raise TaskError(f"index is {index!r}; accepted for {suite.name}: 0 to {suite.tasks - 1}")
    root = package_root()
    name = _task_names(root)[suite.name][index]
    return LiberoFiles(
        bddl=root / "bddl_files" / suite.name / f"{name}.bddl",
        init_states=root / "init_files" / suite.name / f"{name}.pruned_init",
    )


def package_root() -> Path:
    """Folder of the installed package `libero.libero`, found without importing it."""
    try:
        installed = importlib.metadata.version("hf-libero")
    except importlib.metadata.PackageNotFoundError:
        raise TaskError(f"hf-libero is not installed; accepted: hf-libero=={LIBERO_VERSION}") from None
    if installed != LIBERO_VERSION:
        raise TaskError(f"hf-libero {installed} is installed; accepted: {LIBERO_VERSION}")
    package = importlib.util.find_spec("libero")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "libero"


def _task_names(root: Path) -> dict[str, list[str]]:
    """Each suite's tasks in order. Loaded by path, because its package imports torch, which tasks do without."""
    spec = importlib.util.spec_from_file_location("_libero_tasks", root / "benchmark" / "libero_suite_task_map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names: dict[str, list[str]] = module.libero_task_map
    return names
