"""A run's task from its options: one of the suite's by name, or the user's own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import tasks
from sim_eval.config.components import TARGETS, Component, component, typed_as
from sim_eval.config.options import Choice, Given, option
from tasks.naming import full_name
from tasks.registry import OPTION_TYPES, TASKS, options_of, task_defaults, task_options
from tasks.task import Task, checked_task


class StoredTask(TypedDict):
    """The required field of a task's options in a folder that a command wrote."""

    name: str


@dataclass(frozen=True)
class TaskChoice:
    """Which task to build.

    name: of the suite's own tasks, such as "libero_goal", or the label of a user's. options: every option of the
    suite's, the given ones of a user's. target: what builds a user's own task, as in `Component`; None for the suite's.
    make: the callable that a user has passed, which `target` describes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    make: Callable[[], Task] | None = None

    @classmethod
    def stored_as(cls, stored: Mapping[str, Any]) -> TaskChoice:
        """The choice that a folder holds as plain values."""
        if "target" in stored:
            return cls(stored["name"], stored.get("options", {}), stored["target"])
        options = {name: value for name, value in stored.items() if name not in ("name", "assets")}  # assets: once
        return cls(stored["name"], options)

    def stored(self) -> dict[str, Any]:
        """Plain values, for `stored_as`."""
        if self.target is None:
            return {"name": self.name, **self.options}
        return {"name": self.name, "target": self.target, "options": dict(self.options)}

    @property
    def full_name(self) -> str:
        """The task's name in keys, records and checkpoints."""
        return self.name if self.target else full_name(self.name, **self.options)

    @property
    def varied(self) -> dict[str, Any]:
        """The options that are neither in the full name nor at their defaults; all of a user's own."""
        if self.target:
            return dict(self.options)
        in_name, defaults = ("index", "env", "perturbation", "id"), task_defaults(self.name)
        return {
            name: value for name, value in self.options.items() if name not in in_name and value != defaults.get(name)
        }

    def factory(self) -> Callable[[], Task]:
        """A picklable callable that builds the task."""
        if self.make is not None:
            return self.make
        if self.target is not None:
            return Component(self.name, self.target, self.options, "task").build
        return functools.partial(tasks.make, self.name, **self.options)


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The task."""

    task: TaskChoice = option(
        Choice("can"),
        "lift, can, square, libero_spatial, libero_object, libero_goal, libero_10, libero_90, robosuite, ogbench, "
        "gymnasium, or as for policy. task.instruction=TEXT: what the policy is told instead; task.gain=0.6: the hand "
        "moves less far for an action; task.stepping=stock: robosuite's own control loop; LIBERO's suites take "
        "task.index=N and task.perturbation=lan|object|swap|task, robosuite takes task.env=NAME, ogbench "
        "task.env=DOMAIN, task.index=1 to 5 and task.sparse=true, gymnasium task.id=ID, task.success=KEY of info, "
        "terminated or return, task.threshold=RETURN, task.max_steps=N and task.kwargs.NAME=VALUE",
        kind="Choice",
    )

    @staticmethod
    def resolve(given: Given) -> None:
        given["task"] = task_of(given["task"])


def task_of(choice: Choice) -> TaskChoice:
    """The task of a choice: a name with options, or a callable that builds a `Task`.

    Raises RunError or TaskError for options from which no task can be built. Builds a task only of a callable, to read
    its name.
    """
    name = choice.value
    if callable(name):
        with closing(checked_task(name())) as probe:
            return TaskChoice(probe.spec.name, *_described(name), name)
    if name in TASKS:
        options = {option: typed_as(value, OPTION_TYPES.get(option)) for option, value in choice.options.items()}
        return TaskChoice(name, task_options(name, **options))
    own = component("task", choice, TASKS, TARGETS)
    own.check()
    return TaskChoice(own.label, dict(own.options), own.target)


def factory_of(full_name: str) -> Callable[[], Task]:
    """A picklable callable that builds the suite's own task of this full name. Raises TaskError for an unknown one."""
    return TaskChoice.stored_as(options_of(full_name)).factory()


def _described(make_task: Callable[[], Task]) -> tuple[dict[str, Any], str]:
    """Options and target of a callable that builds a task; a script is named by its file, so that others find it."""
    factory, options = make_task, {}
    if isinstance(make_task, functools.partial) and not make_task.args:
        factory, options = make_task.func, dict(make_task.keywords)
    named: Any = factory if hasattr(factory, "__qualname__") else type(factory)
    file = getattr(sys.modules["__main__"], "__file__", None) if named.__module__ == "__main__" else None
    place = named.__module__ if file is None else str(Path(file).resolve())
    return options, f"{place}:{named.__qualname__}"
