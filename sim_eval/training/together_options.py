"""`sim-eval learn` for several tasks of one domain: `task=ogbench task.env=scene task.index=1-5`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sim_eval.config.command_line import given
from sim_eval.config.options import built
from sim_eval.evaluation.suite import tasks_of, with_task
from sim_eval.foundation.errors import RunError
from sim_eval.training.names import IQL, PLAY, SARSA, STEERED, TD
from sim_eval.training.online_options import LearnOptions
from tasks.naming import domain_of

#: The methods that learn several tasks at once.
METHODS = (TD, SARSA, IQL)


@dataclass(frozen=True)
class LearnTogether:
    """Options that differ in the number of the task and in the folder. output: the parent of the tasks' folders."""

    tasks: tuple[LearnOptions, ...]
    output: Path


def read_learning(arguments: Sequence[str]) -> LearnOptions | LearnTogether:
    """The options for one task, or for several of a domain.

    Raises RunError and TaskError as `read`, and for tasks or options that are not learned together.
    """
    found = given(LearnOptions, arguments)
    choices = list(tasks_of(found["task"]))
    tasks = [built(LearnOptions, with_task(found, choice)) for choice in choices]
    if len(tasks) == 1:
        return tasks[0]
    _check(tasks)
    parent = tasks[0].output
    return LearnTogether(tuple(replace(task, output=parent / task.task_name) for task in tasks), parent)


def _check(tasks: Sequence[LearnOptions]) -> None:
    """Raise RunError for tasks of no common domain, and for options that are not for several tasks."""
    names, first = [task.task_name for task in tasks], tasks[0]
    if domain_of(names[0]) is None or len({domain_of(name) for name in names}) > 1:
        raise RunError(
            f"task names {', '.join(names)}; accepted to be learned together: tasks of one domain, as task=ogbench "
            "task.env=scene task.index=1-5"
        )
    if not first.data or any(path.suffix != PLAY for path in first.data):
        given = ",".join(map(str, first.data)) or "empty"
        raise RunError(
            f"data is {given}, and {len(names)} tasks are named; accepted for several: files of play, {PLAY}"
        )
    if first.method not in METHODS:
        raise RunError(
            f"method is {first.method}, and {len(names)} tasks are named; accepted for several: {', '.join(METHODS)}"
        )
    if first.method == TD and first.bootstrap == STEERED:
        raise RunError(
            f"bootstrap is {STEERED}, whose chunks each task draws for itself, and {len(names)} tasks are named; "
            "accepted for several: policy, best"
        )
