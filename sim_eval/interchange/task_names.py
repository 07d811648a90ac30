"""Tasks of benchmark suites: other harnesses write suite and index, this suite one full name."""

from __future__ import annotations

from tasks.libero_suites import PERTURBED_SUITES, SUITES
from tasks.naming import full_name

_INDEXED = {**SUITES, **PERTURBED_SUITES}


def is_suite(name: object) -> bool:
    """Whether this is one of LIBERO's suites, whose tasks have an index."""
    return isinstance(name, str) and name in _INDEXED


def name_of(group: str, index: int) -> str:
    """The full name of a group's task: "libero_goal" for its task 0, else "libero_goal_7"."""
    return full_name(group, index)


def group_and_index(task: str) -> tuple[str, int]:
    """The suite and index of a full name; the name itself and 0 for a task of no suite."""
    suite, _, index = task.rpartition("_")
    return (suite, int(index)) if is_suite(suite) and index.isdecimal() else (task, 0)
