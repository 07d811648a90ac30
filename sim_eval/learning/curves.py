"""Success against environment steps, over folders of `sim-eval-learn`: runs that differ in their seed alone are one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from sim_eval.analysis.pairs import corrected, counted, pairing_of
from sim_eval.analysis.rows import Pairing, Tally
from sim_eval.analysis.statistics import wilson
from sim_eval.config.tasks import StoredTask, task_name
from sim_eval.errors import RunError
from sim_eval.fields import check_fields, parse_json, read_entries

CURVE = "curve.json"
OPTIONS = "options.json"


class _Options(TypedDict):
    """The required fields of options.json."""

    task: StoredTask
    policy: str
    sampler: dict[str, Any]
    evaluate: int
    seed: int


class _Evaluation(TypedDict):
    """The required fields of each entry of curve.json."""

    steps: int
    outcomes: list[bool]


@dataclass(frozen=True)
class Learned:
    """A folder of `sim-eval-learn` as read. `evaluations`: entries of curve.json, in the order of their steps."""

    folder: Path
    options: dict[str, Any]
    evaluations: list[dict[str, Any]]

    @property
    def task(self) -> str:
        return task_name(self.options["task"])

    @property
    def policy(self) -> str:
        return str(self.options["policy"])

    @property
    def sampler(self) -> str:
        return str(next(iter(self.options["sampler"])))


@dataclass(frozen=True)
class Point:
    """Evaluations of all seeds after `steps` environment steps, their mean, about `number` times the interval between
    evaluations.

    outcomes: success by episode of each seed. interval: Wilson's over all of them, as fractions.
    """

    number: int
    steps: float
    outcomes: Mapping[int, Sequence[bool]]

    @property
    def successes(self) -> int:
        return sum(map(sum, self.outcomes.values()))

    @property
    def episodes(self) -> int:
        return sum(map(len, self.outcomes.values()))

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.successes, self.episodes)

    @property
    def rate(self) -> float:
        return self.successes / self.episodes


@dataclass(frozen=True)
class Curve:
    """One sampler on one task and policy. `label`: the sampler's name, with the folder's where others share it."""

    task: str
    policy: str
    label: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]


def is_learned(folder: Path) -> bool:
    """Whether sim-eval-learn wrote this folder."""
    return (folder / CURVE).is_file() and (folder / OPTIONS).is_file()


def read_learned(folder: Path) -> Learned:
    """Read a folder, which may not have been evaluated yet. Raises RunError if sim-eval-learn did not write it."""
    path = folder / OPTIONS
    if not path.is_file():
        raise RunError(f"{folder} holds no {OPTIONS}; accepted: folders of sim-eval-learn")
    options = parse_json(path.read_bytes(), str(path))
    check_fields(str(path), {"the content": options}, {"the content": dict[str, Any]})
    check_fields(str(path), options, get_type_hints(_Options))
    if len(options["sampler"]) != 1 or not options["evaluate"]:
        raise RunError(f"{path} has not one sampler, or evaluate is 0: the file was changed")
    return Learned(folder, options, read_entries(folder / CURVE, _Evaluation))


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The curves of these folders, seeds pooled.

    Raises RunError as `read_learned`, and for seeds that share no evaluation.
    """
    groups: dict[str, list[Learned]] = defaultdict(list)
    for folder in dict.fromkeys(path.resolve() for path in folders):
        learned = read_learned(folder)
        setup = json.dumps({name: value for name, value in learned.options.items() if name != "seed"}, sort_keys=True)
        groups[setup].append(learned)
    curves = []
    for runs in groups.values():
        first = runs[0]
        by_seed = {run.options["seed"]: run.evaluations for run in runs}
        points, seeds = _points(by_seed, first.options["evaluate"]), tuple(sorted(by_seed))
        if not points:
            raise RunError(f"{', '.join(str(run.folder) for run in runs)}: no evaluation that all of these have")
        curves.append((first.folder, Curve(first.task, first.policy, first.sampler, seeds, points)))
    names = [(curve.task, curve.policy, curve.label) for _, curve in curves]
    return [
        curve if names.count(name) == 1 else Curve(*name[:2], f"{folder.name}/{name[2]}", curve.seeds, curve.points)
        for name, (folder, curve) in zip(names, curves, strict=True)
    ]


def compare_curves(curves: Sequence[Curve], first: bool = False) -> list[Pairing]:
    """Every two samplers, over the tasks and policies that both learned on and the seeds that both have there.

    Pairs are the episodes of the last evaluation that both reached, or of the first one. Holm's correction is over
    these tests.
    """
    found = []
    for label, against in combinations(dict.fromkeys(curve.label for curve in curves), 2):
        here, there = (
            {(curve.task, curve.policy): curve for curve in curves if curve.label == name} for name in (label, against)
        )
        tables = [_paired(here[place], there[place], first) for place in here if place in there]
        played = [table for table in tables if table is not None]
        if played:
            found.append(pairing_of(label, against, played))
    return corrected(found)


def _paired(curve: Curve, other: Curve, first: bool) -> Tally | None:
    """The pairs of the last evaluation that both curves have, or of the first; None if they share no seed or none."""
    theirs = {point.number: point for point in other.points}
    shared = [point for point in curve.points if point.number in theirs]
    if not shared:
        return None
    point = shared[0 if first else -1]
    opposite = theirs[point.number]
    pairs = [
        pair
        for seed in point.outcomes
        if seed in opposite.outcomes
        for pair in zip(point.outcomes[seed], opposite.outcomes[seed], strict=False)
    ]
    return counted(pairs) if pairs else None


def _points(runs: Mapping[int, Sequence[dict[str, Any]]], every: int) -> tuple[Point, ...]:
    """The evaluations that the runs of all seeds have, by the multiple of `every` steps that they follow."""
    by_seed = {
        seed: {evaluation["steps"] // every: evaluation for evaluation in reversed(run)} for seed, run in runs.items()
    }
    points = []
    for number in sorted(set.intersection(*(set(run) for run in by_seed.values()))):
        same = {seed: by_seed[seed][number] for seed in sorted(by_seed)}
        steps = sum(evaluation["steps"] for evaluation in same.values()) / len(same)
        points.append(Point(number, steps, {seed: evaluation["outcomes"] for seed, evaluation in same.items()}))
    return tuple(points)
