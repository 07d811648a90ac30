"""Every task by its name. To add one, add its spec here: the contract test in tests/test_tasks.py covers it."""

from __future__ import annotations

import difflib

from tasks.libero_files import task_files
from tasks.libero_suites import INIT_STATES, PERTURBATIONS, PERTURBED_SUITES, SUITES, LiberoSuite, is_libero
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


def published_starts(task: str) -> int | None:
    """How many starts the benchmark of the task of this full name publishes: env_seed 0, 1, ... name them. None where
    it publishes none."""
    return INIT_STATES if is_libero(task) else None


def check_exists(
    name: str, index: int = 0, env: str | None = None, perturbation: str | None = None, **_: object
) -> None:
    """Check the options that `make` takes, without building the task.

    Raises TaskError for an index outside the suite, an unknown perturbation and an unknown environment.
    """
    if name in SUITES:
        task_files(_suite(name, perturbation), index)
    if name == ANY_ROBOSUITE:
        check_environment(env)


def make(
    name: str, stepping: str = "fast", index: int = 0, env: str | None = None, perturbation: str | None = None
) -> Task:
    """Build the task called `name`. Takes a second or two: the model is compiled.

    `stepping` is "fast" (this project's control loop) or "stock" (robosuite's own). LIBERO's suites alone take
    `index`, the task's number in the suite, and `perturbation`, one of LIBERO-PRO's `PERTURBATIONS` of the suite;
    "robosuite" alone takes `env`, the name of one of its environments.
    Raises TaskError for an unknown name, with the accepted ones.
    """
    if name not in (*names(), ANY_ROBOSUITE):
        close = difflib.get_close_matches(str(name), names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TaskError(f"task is {name!r}; accepted: {', '.join((*names(), ANY_ROBOSUITE))}{hint}")
    libero, any_robosuite = name in SUITES, name == ANY_ROBOSUITE
    for option, value, default, taken, takers in (
        ("index", index, 0, libero, "LIBERO's suites"),
        ("perturbation", perturbation, None, libero, "LIBERO's suites"),
        ("env", env, None, any_robosuite, f"task {ANY_ROBOSUITE!r}"),
    ):
        if value != default and not taken:
            raise TaskError(f"{option} is {value!r} for task {name!r}; accepted for {takers} alone")
    known_as = full_name(name, index, env, perturbation)
    if libero:
        return LiberoTask(known_as, _suite(name, perturbation), index, stepping)
    if any_robosuite:
        return AnyRobosuiteTask(known_as, env, stepping)
    return RobosuiteTask(_BY_NAME[name], stepping)


def _suite(name: str, perturbation: str | None) -> LiberoSuite:
    if perturbation is None:
        return SUITES[name]
    suite = PERTURBED_SUITES.get(f"{name}_{perturbation}")
    if suite is None:
        accepted = ", ".join(PERTURBATIONS) if name != "libero_90" else "none"
        raise TaskError(f"perturbation is {perturbation!r}; accepted for {name}: {accepted}")
    return suite
