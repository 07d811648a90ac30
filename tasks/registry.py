"""Every task by its name. To add one, add its spec here: the contract test in tests/test_tasks.py covers it."""

from __future__ import annotations

import difflib

from tasks.libero_assets import AUTO
from tasks.libero_suites import SUITES, task_files
from tasks.libero_task import LiberoTask
from tasks.naming import ANY_ROBOSUITE, full_name
from tasks.robosuite_any import AnyRobosuiteTask, check_environment
from tasks.robosuite_task import RobosuiteSpec, RobosuiteTask
from tasks.task import Task, TaskError

_SPECS = (
    RobosuiteSpec(
        name="lift",
        env_name="Lift",
        object_body="cube_main",
        relative_orientation=False,
        instruction="lift the red cube",
    ),
    RobosuiteSpec(
        name="can",
        env_name="PickPlaceCan",
        object_body="Can_main",
        relative_orientation=True,
        instruction="put the can into its bin",
    ),
    RobosuiteSpec(
        name="square",
        env_name="NutAssemblySquare",
        object_body="SquareNut_main",
        relative_orientation=True,
        instruction="put the square nut over the square peg",
    ),
)
_BY_NAME = {spec.name: spec for spec in _SPECS}


def names() -> tuple[str, ...]:
    """The registered tasks that their name alone describes, robosuite's first, each simulator's easiest first."""
    return (*_BY_NAME, *SUITES)


def check_exists(name: str, index: int = 0, env: str | None = None, **_: object) -> None:
    """Raise TaskError, from the options that `make` takes, for an index outside the suite or an unknown environment."""
    if name in SUITES:
        task_files(SUITES[name], index)
    if name == ANY_ROBOSUITE:
        check_environment(env)


def make(name: str, stepping: str = "fast", index: int = 0, assets: str = AUTO, env: str | None = None) -> Task:
    """Build the task called `name`. Takes a second or two: the model is compiled.

    `stepping` is "fast" (this project's control loop) or "stock" (robosuite's own). LIBERO's suites alone take
    `index`, the task's number in the suite, and `assets`, auto, real, lite or a folder (see `choose_assets`);
    "robosuite" alone takes `env`, the name of one of its environments.
    Raises TaskError for an unknown name, with the accepted ones.
    """
    if name not in (*names(), ANY_ROBOSUITE):
        close = difflib.get_close_matches(str(name), names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TaskError(f"task is {name!r}; accepted: {', '.join((*names(), ANY_ROBOSUITE))}{hint}")
    options = (("index", index, 0, name in SUITES), ("assets", assets, AUTO, name in SUITES))
    for option, value, default, taken in (*options, ("env", env, None, name == ANY_ROBOSUITE)):
        if value != default and not taken:
            where = f"task {ANY_ROBOSUITE!r}" if option == "env" else "LIBERO's suites"
            raise TaskError(f"{option} is {value!r} for task {name!r}; accepted for {where} alone")
    known_as = full_name(name, index, env)
    if name in SUITES:
        return LiberoTask(known_as, SUITES[name], index, assets, stepping)
    if name == ANY_ROBOSUITE:
        return AnyRobosuiteTask(known_as, env, stepping)
    return RobosuiteTask(_BY_NAME[name], stepping)
