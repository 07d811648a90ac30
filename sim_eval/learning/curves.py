"""Success against environment steps, over folders of `sim-eval-learn`: runs that differ in their seed alone are one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from sim_eval.analysis.pairs import corrected, counted, pairing_of
from sim_eval.analysis.rows import Pairing, Tally
from sim_eval.analysis.statistics import wilson
from sim_eval.config.tasks import task_name
from sim_eval.errors import RunError
from sim_eval.learning.folder import CURVE, OPTIONS


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


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The curves of these folders, seeds pooled. Raises RunError for a folder that sim-eval-learn did not write."""
    groups: dict[str, list[tuple[Path, dict[str, Any], list[dict[str, Any]]]]] = defaultdict(list)
    for folder in dict.fromkeys(path.resolve() for path in folders):
        if not is_learned(folder):
            raise RunError(f"{folder} holds no {CURVE}; accepted: folders of sim-eval-learn")
        options = json.loads((folder / OPTIONS).read_text())
        evaluations = json.loads((folder / CURVE).read_text())
        setup = json.dumps({name: value for name, value in options.items() if name != "seed"}, sort_keys=True)
        groups[setup].append((folder, options, evaluations))
    curves = []
    for runs in groups.values():
        folder, options, _ = runs[0]
        (sampler,) = options["sampler"]
        by_seed = {run["seed"]: evaluations for _, run, evaluations in runs}
        points, seeds = _points(by_seed, options["evaluate"]), tuple(sorted(by_seed))
        curves.append((folder, Curve(task_name(options["task"]), options["policy"], sampler, seeds, points)))
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
