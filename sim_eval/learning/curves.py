"""Success against environment steps, over folders of `sim-eval-learn`: runs that differ in their seed alone are one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.analysis.statistics import wilson
from sim_eval.errors import RunError
from sim_eval.learning.folder import CURVE, OPTIONS


@dataclass(frozen=True)
class Point:
    """Evaluations of all seeds after `steps` environment steps, their mean. `interval`: Wilson's, as fractions."""

    steps: float
    successes: int
    episodes: int
    interval: tuple[float, float]

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
        points = _points([evaluations for _, _, evaluations in runs], options["evaluate"])
        seeds = tuple(sorted(run["seed"] for _, run, _ in runs))
        curves.append((folder, Curve(options["task"]["name"], options["policy"], sampler, seeds, points)))
    names = [(curve.task, curve.policy, curve.label) for _, curve in curves]
    return [
        curve if names.count(name) == 1 else Curve(*name[:2], f"{folder.name}/{name[2]}", curve.seeds, curve.points)
        for name, (folder, curve) in zip(names, curves, strict=True)
    ]


def _points(runs: Sequence[Sequence[dict[str, Any]]], every: int) -> tuple[Point, ...]:
    """The evaluations that every run has, by the multiple of `every` steps that they follow."""
    by_step = [{evaluation["steps"] // every: evaluation for evaluation in reversed(run)} for run in runs]
    shared = set.intersection(*(set(run) for run in by_step))
    points = []
    for number in sorted(shared):
        same = [run[number] for run in by_step]
        successes = sum(sum(evaluation["outcomes"]) for evaluation in same)
        episodes = sum(len(evaluation["outcomes"]) for evaluation in same)
        steps = sum(evaluation["steps"] for evaluation in same) / len(same)
        points.append(Point(steps, successes, episodes, wilson(successes, episodes)))
    return tuple(points)
