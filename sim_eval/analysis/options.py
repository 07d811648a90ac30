"""What distinguishes one run's episodes from another's beside the key: options, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sim_eval.config.components import BUILT_IN
from sim_eval.runs.reader import Run
from sim_eval.runs.records import BASELINE

#: Options of a task that are part of its full name, its name itself, and one that only earlier versions stored.
_NAMED = ("name", "env", "perturbation", "id", "assets")
_SERVER = BUILT_IN["policy"]["openpi"]


def task_options(run: Run) -> dict[str, Any]:
    """By "task.OPTION" what changes the run's task and is not in its full name; defaults are left out.

    A full name does not hold the index 0, so that `libero_goal` could be a whole suite: this says so.
    """
    task = run.config["task"]
    if "target" in task:
        return {f"task.{option}": value for option, value in task.get("options", {}).items()}
    return {
        f"task.{option}": value
        for option, value in task.items()
        if option not in _NAMED and (option, value) != ("stepping", "fast") and (option != "index" or value == 0)
    }


def given_options(run: Run) -> dict[str, Any]:
    """All that was passed to the run's policy, by the name of the option."""
    return dict(run.config.get("policy_options", {}))


def policy_options(run: Run) -> dict[str, Any]:
    """By "policy.OPTION" what was passed to the run's policy, but not what its server was told to draw with."""
    return {f"policy.{name}": value for name, value in given_options(run).items() if name not in _steering(run)}


def served_by(run: Run) -> dict[str, Any]:
    """`sampler` and `strength` that a policy server was told to steer with; empty if it was told nothing."""
    steering = _steering(run)
    return {} if steering.get("sampler") == BASELINE else steering


def drawn_by(run: Run, sampler: str) -> str:
    """What draws the actions that are recorded under `sampler`: a policy server may steer, too."""
    steering = served_by(run)
    if not steering:
        return sampler
    served = f"{steering['sampler']} (server)"
    return served if sampler == BASELINE else f"{sampler} over {served}"


def sampler_options(run: Run, sampler: str) -> dict[str, Any]:
    """The options of the run's sampler; the strength is its server's where that steers alone."""
    options = {name: value for name, value in run.config["sampler"][sampler].items() if name != "_target_"}
    served = served_by(run).get("strength")
    return options if served is None else {"strength": served, **options}


def critic_options(run: Run, sampler: str) -> dict[str, Any]:
    """The critic and the posterior that steer this sampler: none without steering, whatever judged the episodes."""
    found: dict[str, Any] = {}
    for option in ("critic", "posterior") if sampler != BASELINE else ():
        if run.config.get(option) is not None:
            found[option] = run.config[option]
        found |= {f"{option}.{name}": value for name, value in run.config.get(f"{option}_options", {}).items()}
    return found


def said(options: Mapping[str, Any]) -> list[str]:
    """Each option as it is typed: `task.gain=0.6`, `task.instruction="lift the can"`."""
    return [f"{option}={said_value(value)}" for option, value in options.items()]


def said_value(value: Any) -> str:
    """A value on one line; a text with spaces stands in quotes."""
    if isinstance(value, str) and value.isprintable():
        return f'"{value}"' if " " in value or not value else value
    return json.dumps(value, default=str)


def _steering(run: Run) -> dict[str, Any]:
    given = given_options(run)
    if run.config.get("policy_target") != _SERVER or given.get("sampler") is None:
        return {}
    return {name: given[name] for name in ("sampler", "strength") if given.get(name) is not None}
