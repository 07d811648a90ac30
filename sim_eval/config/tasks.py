"""A run's task from its options: one of the suite's by name, or the user's own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import tasks
from sim_eval.config.components import Component, component
from tasks.naming import full_name
from tasks.registry import TASKS, options_of, task_options
from tasks.task import Task, checked_task


class StoredTask(TypedDict):
    """The required field of a task's options in a folder that a command wrote."""

    name: str


def read_task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The task in composed options: its name and every option, as run folders store it and `task_factory` takes it.

    Raises RunError or TaskError for options from which no task can be built. Builds a task only if the option is a
    callable, to read its name.
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
    """The task's name in keys, records and checkpoints."""
    return str(task["name"]) if "target" in task else full_name(**task)


def varied_options(task: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are neither in the task's full name nor at their defaults; all given ones of a user's own."""
    if "target" in task:
        return dict(task["options"])
    in_name = {option: task[option] for option in ("index", "env", "perturbation") if option in task}
    defaults = {"name": task["name"], **task_options(task["name"], **in_name)}
    return {option: value for option, value in task.items() if option not in defaults or value != defaults[option]}


def task_factory(task: Mapping[str, Any]) -> Callable[[], Task]:
    """A picklable callable that builds the task of these options, from `read_task` or a run folder."""
    if "target" in task:
        return Component(task["name"], task["target"], task["options"], "task").build
    options = {name: value for name, value in task.items() if name != "assets"}  # stored by older versions
    return functools.partial(tasks.make, **options)


def factory_of(full_name: str) -> Callable[[], Task]:
    """A picklable callable that builds the suite's own task of this full name. Raises TaskError for an unknown one."""
    return task_factory(options_of(full_name))


def _described(make_task: Callable[[], Task]) -> dict[str, Any]:
    """Target and options of a callable that builds a task; a script is named by its file, so that others find it."""
    factory, options = make_task, {}
    if isinstance(make_task, functools.partial) and not make_task.args:
        factory, options = make_task.func, dict(make_task.keywords)
    named: Any = factory if hasattr(factory, "__qualname__") else type(factory)
    file = getattr(sys.modules["__main__"], "__file__", None) if named.__module__ == "__main__" else None
    place = named.__module__ if file is None else str(Path(file).resolve())
    return {"target": f"{place}:{named.__qualname__}", "options": options}
