"""Episodes that another harness ran, and the unpaired run that they become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, check_name
from sim_eval.rollout.result import Cost
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record
from tasks.libero_suites import PERTURBED_SUITES, SUITES
from tasks.naming import full_name

#: More than any evaluation's episodes, steps or seconds: a larger number is damaged, and each episode takes memory.
_MOST = 1_000_000
_LONGEST_NAME = 200
#: vla-eval rounds its rates to four decimals.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Described:
    """The names that a file of another harness lacks: the policy that it evaluated, and the sampler."""

    policy: str = "unknown"
    sampler: str = "unsteered"


UNDESCRIBED = Described()


@dataclass(frozen=True)
class ForeignEpisode:
    """One episode as another harness reports it. `steps`: control steps, 0 if the file does not say."""

    success: bool
    steps: int = 0
    wall_s: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class ForeignResults:
    """The content of one file: the harness that wrote it, each task's episodes, and what a reader must know of it."""

    harness: str
    tasks: dict[str, list[ForeignEpisode]]
    notes: tuple[str, ...] = ()


def foreign_run(path: Path, name: str, task: str, results: ForeignResults, described: Described) -> Run:
    """The episodes of one task as a run of one sampler. `name`: the file's in reports."""
    unpaired = (
        f"{name}: unpaired: {results.harness} stores no hash of an episode's start, so that its rows have intervals "
        "but no paired tests, and the headline leaves them out"
    )
    records = [_record(task, number, episode, described) for number, episode in enumerate(results.tasks[task])]
    config: dict[str, Any] = {
        # With a target the name is taken as it stands.
        "task": {"name": task, "target": results.harness},
        "policy": described.policy,
        "critic": None,
        "samplers": [described.sampler],
        "sampler": {described.sampler: {}},
        "episodes": len(records),
    }
    notes = (unpaired, *(f"{name}: {note}" for note in results.notes))
    return Run(f"{name} {task}", path, config, [], records, foreign=name, notes=notes)


def _record(task: str, number: int, episode: ForeignEpisode, described: Described) -> Record:
    """Its key is made up: it only tells the episodes of one run apart."""
    return Record(
        task=task,
        policy=described.policy,
        sampler=described.sampler,
        strength=None,
        episode=number,
        env_seed=number,
        noise_seed=0,
        state_hash=None,
        success=episode.success,
        steps=episode.steps,
        error=episode.error,
        wall_s=episode.wall_s,
        decisions=0,
        execute=0,
        cost=Cost(0, 0, 0, None),
        mean_q=None,
        q=None,
    )


def read_success(where: str, value: Any) -> bool:
    """An episode's outcome. Raises RunError for anything but true, false, 1 and 0."""
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise RunError(f"{where}: success is {_shown(value)}; accepted: true, false, 1 or 0")


def read_name(where: str, value: Any) -> str:
    """A task's name. Raises RunError for anything but one short printable line."""
    if isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME:
        return value
    raise RunError(f"{where} is {_shown(value)}; accepted: one printable line of 1 to {_LONGEST_NAME} characters")


def read_number(where: str, value: Any, most: int = _MOST) -> float:
    """A number from 0 to `most`. Raises RunError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
        return float(value)
    raise RunError(f"{where} is {_shown(value)}; accepted: a number from 0 to {most}")


def check_rate(where: str, rate: Any, successes: int, episodes: int, whole: int) -> None:
    """Raise RunError unless `rate` is that of so many successes. `whole`: the rate if all succeed, 1 or 100."""
    if abs(read_number(where, rate, whole) / whole - successes / episodes) > _ROUNDING:
        raise RunError(f"{where} is {_shown(rate)}, but {successes} of {episodes} episodes succeed")


def from_counts(where: str, values: dict[str, Any], count: str, rate: str, whole: int) -> list[ForeignEpisode]:
    """As many episodes as the field `count` says, successes first, with the success rate of the field `rate`.

    For files that list no episodes; their order means nothing. `whole`: as in `check_rate`, which see for the errors.
    """
    check_fields(where, values, {count: int, rate: float})
    episodes = values[count]
    if not 1 <= episodes <= _MOST:
        raise RunError(f"{where}: {count} is {_shown(episodes)}; accepted: 1 to {_MOST}")
    successes = round(read_number(f"{where}: {rate}", values[rate], whole) / whole * episodes)
    check_rate(f"{where}: {rate}", values[rate], successes, episodes, whole)
    return [ForeignEpisode(number < successes) for number in range(episodes)]


def successes_of(episodes: Sequence[ForeignEpisode]) -> int:
    return sum(episode.success for episode in episodes)


def _shown(value: Any) -> str:
    return f"{json.dumps(value, default=str):.80}"


_INDEXED = {**SUITES, **PERTURBED_SUITES}


def is_suite(name: object) -> bool:
    """Whether this is one of LIBERO's suites, whose tasks have an index."""
    return isinstance(name, str) and name in _INDEXED


def name_of(group: str, index: int) -> str:
    """The full name of a group's task: "libero_goal" for its task 0, else "libero_goal_7"."""
    return full_name(group, index)


def group_and_index(task: str) -> tuple[str, int]:
    """The suite and index of a full name; the name itself and 0 for a task of no suite."""
    suite, _, index = task.rpartition("_")
    return (suite, int(index)) if is_suite(suite) and index.isdecimal() else (task, 0)


def described(policy: str, sampler: str) -> Described:
    """Names for what other harnesses' files do not say. Raises RunError for one that no run could have."""
    for what, name in {"policy": policy, "sampler": sampler}.items():
        check_name(what, name)
    return Described(policy, sampler)
