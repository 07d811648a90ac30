"""Every task by name. To add a task, add its spec here; the contract test in tests/test_tasks.py then covers it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tasks.gymnasium_task import GymnasiumTask, check_options, known_limit
from tasks.libero_files import instruction_in, task_files
from tasks.libero_suites import INIT_STATES, PERTURBATIONS, PERTURBED_SUITES, SUITES, LiberoSuite, is_libero
from tasks.libero_task import LiberoTask
from tasks.naming import ANY_ROBOSUITE, GYMNASIUM, OGBENCH, full_name
from tasks.ogbench_domains import FIRST, domain_of
from tasks.ogbench_task import build as build_ogbench
from tasks.panda_task import PandaTask
from tasks.robosuite_any import AnyRobosuiteTask, check_environment, in_words
from tasks.robosuite_task import MAX_STEPS, RobosuiteSpec, RobosuiteTask
from tasks.simulated_task import SimulatedTask
from tasks.stepping import check_kind
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

#: The tasks that need no option to be complete: robosuite's, LIBERO's suites, each from easy to hard.
_COMPLETE = (*_BY_NAME, *SUITES)
#: Every name that `make` accepts.
TASKS = (*_COMPLETE, ANY_ROBOSUITE, OGBENCH, GYMNASIUM)


class _Option(NamedTuple):
    """An option of `make`: its default for each of the tasks that take it, and `who` they are in messages."""

    defaults: Mapping[str, Any]
    who: str


_PANDA = dict.fromkeys((*_COMPLETE, ANY_ROBOSUITE))
_OPTIONS = {
    "index": _Option({**dict.fromkeys(SUITES, 0), OGBENCH: FIRST}, f"LIBERO's suites and {OGBENCH}"),
    "perturbation": _Option(dict.fromkeys(SUITES), "LIBERO's suites"),
    "env": _Option({ANY_ROBOSUITE: "Stack", OGBENCH: "cube-single"}, f"tasks {ANY_ROBOSUITE!r} and {OGBENCH!r}"),
    "instruction": _Option(dict.fromkeys(TASKS), "every task"),
    "gain": _Option(_PANDA, f"every task but {OGBENCH} and {GYMNASIUM}"),
    "sparse": _Option({OGBENCH: None}, f"task {OGBENCH!r}"),
    "stepping": _Option(dict.fromkeys(_PANDA, "fast"), f"every task but {OGBENCH} and {GYMNASIUM}"),
    **{
        option: _Option({GYMNASIUM: None}, f"task {GYMNASIUM!r}")
        for option in ("id", "success", "threshold", "max_steps", "kwargs")
    },
}

#: The type of each option.
OPTION_TYPES: dict[str, type] = {
    "index": int, "perturbation": str, "env": str, "instruction": str, "gain": float, "sparse": bool, "stepping": str,
    "id": str, "success": str, "threshold": float, "max_steps": int, "kwargs": dict
}  # fmt: skip

#: Options that change a task; without them it is as it is, and they are in no name and no folder.
_CHANGES = ("instruction", "gain", "sparse", "threshold", "max_steps", "kwargs")

MOST_GAIN = 2.0


def options_of(full_name: str) -> dict[str, Any]:
    """The options that `make` takes, `name` among them, from a task's full name. Raises TaskError as `task_options`."""
    name, _, index = full_name.rpartition("_")
    if name.startswith(f"{OGBENCH}_") and index.isdigit():
        env = name.removeprefix(f"{OGBENCH}_")
        return {"name": OGBENCH, **task_options(OGBENCH, env=env, index=int(index))}
    if full_name in TASKS or not index.isdigit():
        return {"name": full_name, **task_options(full_name)}
    return {"name": name, **task_options(name, index=int(index))}


def names() -> tuple[str, ...]:
    """The registered tasks that need no option to be complete."""
    return _COMPLETE


def environment_of(task: str) -> str | None:
    """robosuite's name of the environment of a task; None for LIBERO's and a user's own. `task`: its full name."""
    if task in _BY_NAME:
        return _BY_NAME[task].env_name
    prefix = f"{ANY_ROBOSUITE}_"
    return task.removeprefix(prefix) if task.startswith(prefix) else None


def published_starts(task: str) -> int | None:
    """How many starts (env_seed 0, 1, ...) the task's benchmark publishes, None if none. `task`: its full name."""
    return INIT_STATES if is_libero(task) else None


def task_options(name: str, **given: Any) -> dict[str, Any]:
    """Every option of task `name`: the given values, else the defaults. Builds nothing.

    Raises TaskError for an unknown name, an option that the task does not take, and an unknown stepping, index,
    perturbation or environment.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(str(name), TASKS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TaskError(f"task is {name!r}; accepted: {', '.join(TASKS)}{hint}")
    for option, value in given.items():
        if option not in _OPTIONS:
            raise TaskError(f"task {name!r} takes no option {option}; accepted: {', '.join(_OPTIONS)}")
        if name not in _OPTIONS[option].defaults:
            raise TaskError(f"{option} is {value!r} for task {name!r}; accepted for {_OPTIONS[option].who} alone")
    taken = {option: given.get(option, default) for option, default in task_defaults(name).items()}
    if "stepping" in taken:
        check_kind(taken["stepping"])
    taken = {option: value for option, value in taken.items() if value is not None or option not in _CHANGES}
    _check_changes(taken)
    if name in SUITES:
        task_files(_suite(name, taken["perturbation"]), taken["index"])
    if name == ANY_ROBOSUITE:
        check_environment(taken["env"])
    if name == OGBENCH:
        domain_of(taken["env"], taken["index"])
    if name == GYMNASIUM:
        check_options(**{option: value for option, value in taken.items() if option != "instruction"})
    return taken


def task_defaults(name: str) -> dict[str, Any]:
    """The default of every option that task `name` takes; checks nothing."""
    return {option: kind.defaults[name] for option, kind in _OPTIONS.items() if name in kind.defaults}


def _check_changes(taken: Mapping[str, Any]) -> None:
    """Raise TaskError for a change of the task that cannot be made."""
    instruction, gain = taken.get("instruction", "as it is"), taken.get("gain", 1.0)
    if not isinstance(instruction, str) or not instruction.strip():
        raise TaskError(f"instruction is {instruction!r}; accepted: a text")
    if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 < gain <= MOST_GAIN:
        raise TaskError(f"gain is {gain!r}; accepted: a number above 0, at most {MOST_GAIN:g}")
    if not isinstance(sparse := taken.get("sparse", False), bool):
        raise TaskError(f"sparse is {sparse!r}; accepted: true or false")


def known_of(name: str, **options: Any) -> tuple[str, int]:
    """The instruction and the control steps of an episode of the task that `make` builds. Builds nothing.

    Raises TaskError as `task_options`.
    """
    taken = task_options(name, **options)
    if name in SUITES:
        suite = _suite(name, taken["perturbation"])
        instruction, steps = instruction_in(task_files(suite, taken["index"]).bddl), suite.max_steps
    elif name == ANY_ROBOSUITE:
        instruction, steps = in_words(taken["env"]), MAX_STEPS
    elif name == OGBENCH:
        domain = domain_of(taken["env"], taken["index"])
        instruction, steps = domain.instructions[taken["index"] - 1], domain.max_steps
    elif name == GYMNASIUM:
        instruction, steps = taken["id"].rpartition(":")[2], known_limit(taken["id"], taken.get("max_steps"))
    else:
        instruction, steps = _BY_NAME[name].instruction, MAX_STEPS
    return taken.get("instruction", instruction), steps


def make(name: str, stepping: str | None = None, **options: Any) -> Task:
    """Build task `name`. Compiles the model, which takes a second or two.

    `instruction`: what the policy is told instead of the task's own instruction; success is still the task's.
    `index`: the task's number in one of LIBERO's suites or in OGBench's domain. `perturbation`: one of LIBERO-PRO's
    `PERTURBATIONS`. `env`: robosuite's environment or OGBench's domain. `sparse`: OGBench's reward is -1 until success.
    `stepping`: "fast" (this project's control loop, the default) or "stock" (robosuite's). `gain`: how far the hand
    moves and turns for an action, relative to the task as it is, above 0 and at most `MOST_GAIN`: a robot other than
    the policy's. What an action of 1 does as the task is stays the most. `id`, `success`, `threshold`, `max_steps` and
    `kwargs`: of a Gymnasium environment, see `GymnasiumTask`. Raises TaskError as `task_options`.
    """
    taken = task_options(name, **options, **({} if stepping is None else {"stepping": stepping}))
    task = _built(name, taken, full_name(name, **taken))
    if "instruction" in taken:
        task.spec = replace(task.spec, instruction=taken["instruction"])
    return task


def _built(name: str, taken: dict[str, Any], known_as: str) -> SimulatedTask | GymnasiumTask:
    if name == GYMNASIUM:
        return GymnasiumTask(known_as, **{option: value for option, value in taken.items() if option != "instruction"})
    if name == OGBENCH:
        domain = domain_of(taken["env"], taken["index"])
        return build_ogbench(known_as, domain, taken["index"], taken.get("sparse", False))
    task = _panda(name, taken, known_as)
    task.gain = taken.get("gain", 1.0)
    return task


def _panda(name: str, taken: dict[str, Any], known_as: str) -> PandaTask:
    stepping = taken["stepping"]
    if name in SUITES:
        return LiberoTask(known_as, _suite(name, taken["perturbation"]), taken["index"], stepping)
    if name == ANY_ROBOSUITE:
        return AnyRobosuiteTask(known_as, taken["env"], stepping)
    return RobosuiteTask(_BY_NAME[name], stepping)


def _suite(name: str, perturbation: str | None) -> LiberoSuite:
    if perturbation is None:
        return SUITES[name]
    suite = PERTURBED_SUITES.get(f"{name}_{perturbation}")
    if suite is None:
        accepted = ", ".join(PERTURBATIONS) if name != "libero_90" else "none"
        raise TaskError(f"perturbation is {perturbation!r}; accepted for {name}: {accepted}")
    return suite
