"""Manipulation tasks in simulation: `make` a task, ask for its scripted `expert`, list the `names`."""

from tasks.experts import Expert, expert
from tasks.registry import make, names, published_starts
from tasks.task import EpisodeKey, Observation, Step, Task, TaskError

__all__ = [
    "EpisodeKey",
    "Expert",
    "Observation",
    "Step",
    "Task",
    "TaskError",
    "expert",
    "make",
    "names",
    "published_starts",
]
