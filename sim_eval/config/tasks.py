"""A run's task, from its options: the suite's own by name, or one from outside the suite."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import tasks
from sim_eval.config.plugins import Component, component
from tasks.naming import full_name
from tasks.registry import TASKS, task_options
from tasks.task import Task, checked_task


def read_task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The task of composed options, as run folders store it and `task_factory` takes it: its name and every option.

    Raises RunError or TaskError for options that no task can be built from. Builds none, unless a program has handed
    over what builds its task.
    """
    name, options = config["task"], config["passed_on"].get("task", {})
    if callable(name):
        with closing(checked_task(name())) as probe:
            return {"name": probe.spec.name, **_described(name)}
    if name in TASKS:
        return {"name": name, **task_options(name, **options)}
    task = component("task", name, options, TASKS)
    task.check()
    return {"name": task.label, "target": task.target, "options": dict(options)}


def task_name(task: Mapping[str, Any]) -> str:
    """What keys, records and checkpoints call the task of these options."""
    return str(task["name"]) if "target" in task else full_name(**task)


def task_factory(task: Mapping[str, Any]) -> Callable[[], Task]:
    """Builds the task of these options, composed or read from a run's folder; pickles."""
    if "target" in task:
        return Component(task["name"], task["target"], task["options"], "task").build
    options = {name: value for name, value in task.items() if name != "assets"}  # stored by older versions
    return functools.partial(tasks.make, **options)


def _described(make_task: Callable[[], Task]) -> dict[str, Any]:
    """Target and options of what builds a task; a script's by its file, so that other programs find it."""
    factory, options = make_task, {}
    if isinstance(make_task, functools.partial) and not make_task.args:
        factory, options = make_task.func, dict(make_task.keywords)
    named: Any = factory if hasattr(factory, "__qualname__") else type(factory)
    file = getattr(sys.modules["__main__"], "__file__", None) if named.__module__ == "__main__" else None
    place = named.__module__ if file is None else str(Path(file).resolve())
    return {"target": f"{place}:{named.__qualname__}", "options": options}
