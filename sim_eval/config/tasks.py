"""A run's task, from its options: the suite's own by name, or one from outside the suite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tasks
from sim_eval.config.plugins import Component
from sim_eval.config.values import one_of
from tasks.naming import full_name
from tasks.registry import check_exists
from tasks.stepping import KINDS
from tasks.task import Task


def task_name(task: Mapping[str, Any]) -> str:
    """What keys, records and checkpoints call the task of these options."""
    return str(task["name"]) if "target" in task else full_name(**task)


def task_factory(task: Mapping[str, Any]) -> Callable[[], Task]:
    """Builds the task of these options, composed or read from a run's folder; pickles."""
    if "target" in task:
        return _component(task).build
    options = {name: value for name, value in task.items() if name != "assets"}  # stored by older versions
    return functools.partial(tasks.make, **options)


def check_task(task: Mapping[str, Any]) -> None:
    """Raise RunError or TaskError for options that no task can be built from; builds none."""
    if "target" in task:
        _component(task).check()
    else:
        check_exists(**task)
        one_of("task.stepping", task["stepping"], KINDS)


def _component(task: Mapping[str, Any]) -> Component:
    return Component(task["name"], task["target"], task["options"], "task")
