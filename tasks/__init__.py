"""Manipulation tasks in simulation: `make` a task, ask for its scripted `expert`, list the `names`."""

from tasks.experts import EXPERT_OBSERVATIONS, Expert, expert
from tasks.registry import make, names, published_starts
from tasks.task import ArraySpec, EpisodeKey, Observation, Outcome, Task, TaskError, TaskSpec

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
