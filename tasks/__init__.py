"""Manipulation tasks in simulation: `make` builds a task, `expert` its scripted expert, `names` lists the tasks."""

import importlib
from typing import TYPE_CHECKING, Any

from tasks.registry import make, names, published_starts
from tasks.task import ArraySpec, EpisodeKey, Observation, Outcome, Task, TaskError, TaskSpec

if TYPE_CHECKING:
    from tasks.experts import EXPERT_OBSERVATIONS, Expert, expert

__all__ = [
    "EXPERT_OBSERVATIONS",
    "ArraySpec",
    "EpisodeKey",
    "Expert",
    "Observation",
    "Outcome",
    "Task",
    "TaskError",
    "TaskSpec",
    "expert",
    "make",
    "names",
    "published_starts",
]


def __getattr__(name: str) -> Any:
    """The experts, which alone need scipy, on first use."""
    if name not in ("EXPERT_OBSERVATIONS", "Expert", "expert"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("tasks.experts"), name)
