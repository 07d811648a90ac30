"""`sim-eval learn` for several tasks of one domain: `task=ogbench task.env=scene task.index=1-5`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sim_eval.config.command_line import given
from sim_eval.config.options import built
from sim_eval.evaluation.suite import tasks_of, with_task
from sim_eval.foundation.errors import RunError
from sim_eval.training.names import IQL, IVL, PLAY, SARSA, STEERED, TD
from sim_eval.training.online_options import LearnOptions
from tasks.naming import OGBENCH

#: The methods that learn several tasks at once.
METHODS = (TD, SARSA, IQL, IVL)


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
    if len(choices) == 1:
        return built(LearnOptions, with_task(found, choices[0]))
    if others := [str(choice.value) for choice in choices if choice.value != OGBENCH]:
        raise RunError(
            f"task names {len(choices)} tasks, of them {others[0]}; accepted to be learned together: tasks of one "
            f"domain, as task={OGBENCH} task.env=scene task.index=1-5"
        )
    tasks = [built(LearnOptions, with_task(found, choice)) for choice in choices]
    _check(tasks[0], len(tasks))
    parent = tasks[0].output
    return LearnTogether(tuple(replace(task, output=parent / task.task_name) for task in tasks), parent)


def _check(first: LearnOptions, tasks: int) -> None:
    """Raise RunError for options that are not for several tasks."""
    if not first.data or any(path.suffix != PLAY for path in first.data):
        given = ",".join(map(str, first.data)) or "empty"
        raise RunError(f"data is {given}, and {tasks} tasks are named; accepted for several: files of play, {PLAY}")
    if first.method not in METHODS:
        raise RunError(
            f"method is {first.method}, and {tasks} tasks are named; accepted for several: {', '.join(METHODS)}"
        )
    if first.overlap:
        raise RunError(f"overlap is true, and {tasks} tasks are named; accepted for several: false")
    if first.method == TD and first.bootstrap == STEERED:
        raise RunError(
            f"bootstrap is {STEERED}, whose chunks each task draws for itself, and {tasks} tasks are named; "
            "accepted for several: policy, best"
        )
