"""Every task by its name. To add one, add its spec here: the contract test in tests/test_tasks.py covers it."""

from __future__ import annotations

import difflib

from tasks.libero_suites import SUITES
from tasks.libero_task import LiberoTask
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
    """The registered task names, robosuite's first, each simulator's easiest first."""
    return (*_BY_NAME, *SUITES)


def make(name: str, stepping: str = "fast", index: int = 0, assets: str | None = None) -> Task:
    """Build the task called `name`. Takes a second or two: the model is compiled.

    `stepping` is "fast" (this project's control loop) or "stock" (robosuite's own). LIBERO's suites alone take
    `index`, the task's number in the suite, and `assets`, the folder of LIBERO's assets (see `find_assets`).
    Raises TaskError for an unknown name, with the accepted ones.
    """
    if name in SUITES:
        return LiberoTask(name, index, assets, stepping)
    if name not in _BY_NAME:
        close = difflib.get_close_matches(str(name), names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TaskError(f"task is {name!r}; accepted: {', '.join(names())}{hint}")
    for option, value, default in (("index", index, 0), ("assets", assets, None)):
        if value != default:
            raise TaskError(f"{option} is {value!r} for task {name!r}; accepted for LIBERO's suites alone")
    return RobosuiteTask(_BY_NAME[name], stepping)
