"""Manipulation tasks in simulation: `make` builds a task, `expert` its scripted expert, `names` lists the tasks."""

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
