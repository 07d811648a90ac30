"""Published sweeps: the strengths that were tried, on which episodes and models, and which strength is chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, read_json
from sim_eval.foundation.files import resource, write_text

#: The sweeps of the shipped checkpoints.
RESULTS = resource("results/sweeps")


@dataclass(frozen=True)
class Trial:
    """One strength of one sampler: successes out of `episodes`, Wilson 95 % interval (fractions), mean Q."""

    sampler: str
    strength: float
    episodes: int
    successes: int
    interval: tuple[float, float]
    mean_q: float

    @property
    def rate(self) -> float:
        return self.successes / self.episodes


@dataclass(frozen=True)
class Sweep:
    """The trials of one task, policy and critic, and what they have in common.

    `checkpoints`: role to SHA-256 of what was loaded; `options`: of each sampler, beside its strength. `task_options`:
    those that are not at their defaults; files of earlier versions do not name them, and have none.
    """

    block: str
    seed: int
    episodes: int
    checkpoints: Mapping[str, str]
    options: Mapping[str, Mapping[str, Any]]
    trials: tuple[Trial, ...] = ()
    task_options: Mapping[str, Any] = field(default_factory=dict)


_SWEEP = {
    "block": str,
    "seed": int,
    "episodes": int,
    "checkpoints": dict[str, str],
    "options": dict[str, dict[str, Any]],
    "task_options": dict[str, Any],
}


def read_sweep(path: Path) -> Sweep | None:
    """The published sweep of one task, policy and critic, None without one. Raises RunError for any other file."""
    if not path.is_file():
        return None
    try:
        stored = read_json(path, dict[str, Any])
        stored.pop("assets", None)  # in files of earlier versions
        trials = tuple(_trial(trial) for trial in stored.pop("trials"))
        check_fields(str(path), {"task_options": {}, **stored}, _SWEEP)
        return Sweep(**stored, trials=trials)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise RunError(
            f"{path} holds no sweep ({type(error).__name__}: {error}); accepted: another results=DIR"
        ) from None


def _trial(stored: Mapping[str, Any]) -> Trial:
    """Raises ValueError, KeyError or TypeError for anything else than a trial."""
    low, high = stored["interval"]
    numbers = {name: float(stored[name]) for name in ("strength", "mean_q")}
    counts = {name: int(stored[name]) for name in ("episodes", "successes")}
    if not 0 <= counts["successes"] <= counts["episodes"] or not counts["episodes"]:
        raise ValueError(f"{counts['successes']} of {counts['episodes']} episodes succeed")
    check_fields("a trial", {**stored, **numbers}, {"sampler": str, "strength": float, "mean_q": float})
    return Trial(**{**stored, **numbers, **counts, "interval": (float(low), float(high))})


def check_published(path: Path, sweep: Sweep) -> Sweep:
    """The sweep that `path` holds; where there is no such file, `sweep` without trials.

    Raises RunError where its trials are on another variant of the task, on other episodes or of other models than
    `sweep`, naming what differs: only strengths tried on the same episodes can be compared.
    """
    published = read_sweep(path) or replace(sweep, trials=())
    pairs = [
        *((name, getattr(published, name), getattr(sweep, name)) for name in ("block", "seed", "episodes")),
        ("task options", published.task_options, sweep.task_options),
        *(
            (f"checkpoint {role}", published.checkpoints.get(role, digest), digest)
            for role, digest in sweep.checkpoints.items()
        ),
        *(
            (f"sampler.{name}", published.options.get(name, options), options)
            for name, options in sweep.options.items()
        ),
    ]
    for what, there, here in pairs:
        if there != here:
            raise RunError(
                f"{path} holds trials with {what} {there}, {here} was asked; accepted: the same, or another results=DIR"
            )
    return published


def publish(path: Path, sweep: Sweep) -> Sweep:
    """Add trials to the published ones of this task, policy and critic, and return all; a repeated trial replaces the
    earlier one. Raises RunError as `check_published`, and when the file cannot be written."""
    before = check_published(path, sweep)
    known = {(trial.sampler, trial.strength): trial for trial in [*before.trials, *sweep.trials]}
    after = replace(
        sweep,
        checkpoints={**before.checkpoints, **sweep.checkpoints},
        options={**before.options, **sweep.options},
        trials=tuple(sorted(known.values(), key=lambda trial: (trial.sampler, trial.strength))),
    )
    write_text(path, f"{json.dumps(asdict(after), indent=1)}\n")
    return after


def chosen(trials: Iterable[Trial]) -> dict[str, float]:
    """Each sampler's `smallest_near_best` strength."""
    by_sampler: dict[str, dict[float, list[Trial]]] = {}
    for trial in trials:
        by_sampler.setdefault(trial.sampler, {})[trial.strength] = [trial]
    return {name: smallest_near_best(tried) for name, tried in by_sampler.items()}


def smallest_near_best(trials: Mapping[float, Sequence[Trial]]) -> float:
    """The smallest strength whose success, the mean over trials, lies within one standard error of the best one's.

    A sweep is too short to tell neighbours apart, so its best is partly luck; the smallest of equals changes the policy
    least. The one-standard-error rule is that of Breiman et al. 1984 (Classification and Regression Trees, 3.4.3).
    """
    best = max(trials.values(), key=mean_rate)
    error = math.sqrt(sum(trial.rate * (1 - trial.rate) / trial.episodes for trial in best)) / len(best)
    return min(strength for strength, tried in trials.items() if mean_rate(tried) >= mean_rate(best) - error)


def mean_rate(trials: Sequence[Trial]) -> float:
    """The mean success of trials, each counting the same."""
    return sum(trial.rate for trial in trials) / len(trials)


#: By strength, the trials of one sampler, one a sweep.
Trials = Mapping[float, Sequence[Trial]]


def tried_everywhere(sweeps: Sequence[Sweep], sampler: str) -> Trials:
    """The sampler's trials at the strengths that every sweep tried. Raises RunError if there is none."""
    by_sweep = [{trial.strength: trial for trial in sweep.trials if trial.sampler == sampler} for sweep in sweeps]
    common = sorted(set.intersection(*(set(trials) for trials in by_sweep)) if by_sweep else ())
    if not common:
        raise RunError(f"no strength of {sampler} was tried in all {len(sweeps)} sweeps")
    return {strength: [trials[strength] for trials in by_sweep] for strength in common}


def left_out(trials: Trials) -> list[Trial]:
    """For each sweep its trial at the strength that the other sweeps choose: what a new task can expect."""
    (count,) = {len(tried) for tried in trials.values()}
    found = []
    for index in range(count):
        others = {strength: [*tried[:index], *tried[index + 1 :]] for strength, tried in trials.items()}
        found.append(trials[smallest_near_best(others)][index])
    return found
