"""Success against environment steps, over folders of `sim-eval learn`: runs that differ in their seed alone are one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from sim_eval.analysis.pairs import corrected, counted, pairing_of
from sim_eval.analysis.rows import Pairing, Tally
from sim_eval.analysis.statistics import wilson
from sim_eval.config.tasks import StoredTask, TaskChoice
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import STORED_TASK, check_fields, check_name, check_optional, read_entries, read_json
from sim_eval.rollout.keys import episode_key
from sim_eval.runs.records import BASELINE

CURVE = "curve.json"
OPTIONS = "options.json"
#: In a folder of tasks that learned together: their names, which are those of their folders there.
TOGETHER = "together.json"


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


#: Fields that options.json and an evaluation need not have.
_MORE_OPTIONS = {"fingerprints": dict[str, str], "together": list[str]}
_MORE_EVALUATION = {"mean_q": float | None, "unsteered": list[bool]}


@dataclass(frozen=True)
class Learned:
    """A folder of `sim-eval learn` as read. `evaluations`: entries of curve.json, in the order of their steps."""

    folder: Path
    options: dict[str, Any]
    evaluations: list[dict[str, Any]]

    @property
    def task(self) -> str:
        return TaskChoice.stored_as(self.options["task"]).full_name

    @property
    def policy(self) -> str:
        return str(self.options["policy"])

    @property
    def sampler(self) -> str:
        return str(next(iter(self.options["sampler"])))


#: What orders evaluations: the multiple of `evaluate` environment steps that it follows, and its place among those that
#: follow the same one, which the end of a run may be.
Mark = tuple[int, int]


@dataclass(frozen=True)
class Point:
    """Evaluations of all seeds at one mark.

    steps: environment steps, their mean. outcomes: success by episode of each seed. interval: Wilson's over all of
    them, as fractions.
    """

    mark: Mark
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
    """One sampler on one task and policy.

    label: the sampler's name, with the folder's where others share it. place: the task's options, and the hash of the
    policy's weights; curves are compared where these are the same. left_out: evaluations that not all seeds have.
    frozen: the policy's own draws in the same episodes, which learn nothing: each point has the same outcomes.
    together: the tasks that learned together, of which this is one, or the mean.
    """

    task: str
    policy: str
    label: str
    place: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    left_out: int = 0
    frozen: bool = False
    together: tuple[str, ...] = ()

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean over tasks."""
        return bool(self.together) and self.task not in self.together


def folders_of(path: Path) -> list[Path]:
    """The folders of the tasks that learned together in `path`, or itself."""
    if not (path / TOGETHER).is_file():
        return [path]
    stored = read_json(path / TOGETHER, dict[str, Any])
    check_fields(str(path / TOGETHER), stored, {"tasks": list[str]})
    for task in stored["tasks"]:
        check_name("tasks", task)
    return [path / task for task in stored["tasks"]]


def is_learned(folder: Path) -> bool:
    """Whether sim-eval learn wrote this folder."""
    return (folder / CURVE).is_file() and (folder / OPTIONS).is_file()


def read_learned(folder: Path) -> Learned:
    """Read a folder, which may not have been evaluated yet. Raises RunError if sim-eval learn did not write it."""
    path = folder / OPTIONS
    if not path.is_file():
        raise RunError(f"{folder} holds no {OPTIONS}; accepted: folders of sim-eval learn")
    options = read_json(path, dict[str, Any])
    check_fields(str(path), options, get_type_hints(_Options))
    if len(options["sampler"]) != 1 or not options["evaluate"]:
        raise RunError(f"{path} has not one sampler, or evaluate is 0: the file was changed")
    check_optional(str(path), options, _MORE_OPTIONS)
    check_optional(f"{path}: task", options["task"], STORED_TASK)
    learned = Learned(folder, options, read_entries(folder / CURVE, _Evaluation))
    for number, evaluation in enumerate(learned.evaluations, 1):
        where = f"{folder / CURVE} entry {number}"
        check_optional(where, evaluation, _MORE_EVALUATION)
        for name in ("outcomes", "unsteered"):
            if not evaluation.get(name, [True]):
                raise RunError(f"{where}: {name} is []; accepted: an outcome for each episode")
    return learned


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The curves of these folders, seeds pooled, and after them the frozen policy's lines, where folders have one, and
    the means over tasks that learned together.

    Raises RunError as `read_learned`, for seeds that share no evaluation, and for two folders that differ in nothing.
    """
    groups: dict[str, dict[int, Learned]] = defaultdict(dict)
    for folder in dict.fromkeys(path.resolve() for path in folders):
        learned = read_learned(folder)
        setup = json.dumps({name: value for name, value in learned.options.items() if name != "seed"}, sort_keys=True)
        seed = learned.options["seed"]
        if same := groups[setup].get(seed):
            raise RunError(f"{same.folder} and {folder} have the same options and seed {seed}; accepted: one of them")
        groups[setup][seed] = learned
    curves = [_curve(runs) for runs in groups.values()]
    lines = _frozen(groups.values(), curves)
    names = [(curve.task, curve.policy, curve.label) for curve in curves]
    paths = [_place(next(iter(runs.values()))) for runs in groups.values()]
    named = [
        curve if names.count(name) == 1 else replace(curve, label=f"{_short(path, {*paths})}/{curve.label}")
        for name, path, curve in zip(names, paths, curves, strict=True)
    ]
    return [*named, *lines, *_means([*named, *lines])]


def compare_curves(curves: Sequence[Curve], first: bool = False) -> list[Pairing]:
    """Every two samplers, over the tasks and policies that both learned on and the seeds that both have there.

    Pairs are the episodes of the last evaluation that both have, or of the first one. Holm's correction is over
    these tests.
    """
    found = []
    single = [curve for curve in curves if not curve.is_mean]
    for label, against in combinations(dict.fromkeys(curve.label for curve in single), 2):
        here, there = ({curve.place: curve for curve in single if curve.label == name} for name in (label, against))
        tables = [_paired(here[place], there[place], first) for place in here if place in there]
        played = [table for table in tables if table is not None]
        if played:
            found.append(pairing_of(label, against, played))
    return corrected(found)


def _curve(runs: Mapping[int, Learned]) -> Curve:
    """The curve of runs that differ in their seed alone, by seed."""
    first = next(iter(runs.values()))
    every = first.options["evaluate"]
    by_seed = {seed: _marked(runs[seed].evaluations, every) for seed in sorted(runs)}
    shared = sorted(set.intersection(*(set(run) for run in by_seed.values())))
    if not shared:
        folders = ", ".join(str(run.folder) for run in runs.values())
        raise RunError(f"{folders}: no evaluation that all of these have")
    points = []
    for mark in shared:
        same = {seed: run[mark] for seed, run in by_seed.items()}
        steps = sum(evaluation["steps"] for evaluation in same.values()) / len(same)
        points.append(Point(mark, steps, {seed: evaluation["outcomes"] for seed, evaluation in same.items()}))
    weights = first.options.get("fingerprints", {}).get("policy")
    place = json.dumps([first.options["task"], first.policy, weights], sort_keys=True)
    left_out = sum(len(run) - len(shared) for run in by_seed.values())
    together = tuple(first.options.get("together", ()))
    return Curve(
        first.task, first.policy, first.sampler, place, tuple(by_seed), tuple(points), left_out, together=together
    )


def _means(curves: Sequence[Curve]) -> list[Curve]:
    """For tasks that learned together, the mean of all their curves, at the evaluations that all have."""
    groups: dict[tuple[Any, ...], dict[str, Curve]] = defaultdict(dict)
    for curve in curves:
        if curve.together:
            groups[curve.together, curve.policy, curve.label, curve.frozen, curve.seeds][curve.task] = curve
    means = []
    for (together, policy, label, frozen, seeds), by_task in groups.items():
        tables = [{point.mark: point for point in curve.points} for curve in by_task.values()]
        shared = sorted(set.intersection(*map(set, tables)))
        if set(by_task) != set(together) or not shared:
            continue
        points = tuple(_joined([table[mark] for table in tables]) for mark in shared)
        task = f"mean of {len(together)} tasks"
        means.append(Curve(task, policy, label, task, seeds, points, frozen=frozen, together=together))
    return means


def _joined(points: Sequence[Point]) -> Point:
    """The point of all tasks' outcomes at one mark."""
    outcomes = {seed: [won for point in points for won in point.outcomes[seed]] for seed in points[0].outcomes}
    return Point(points[0].mark, sum(point.steps for point in points) / len(points), outcomes)


def _place(learned: Learned) -> Path:
    """The folder that tells it from others: of all tasks, if it is one of several."""
    return learned.folder.parent if "together" in learned.options else learned.folder


def _frozen(groups: Iterable[Mapping[int, Learned]], curves: Sequence[Curve]) -> list[Curve]:
    """For each place, the frozen policy's outcomes at every mark that its learners have."""
    outcomes: dict[str, dict[int, list[bool]]] = defaultdict(dict)
    for runs, curve in zip(groups, curves, strict=True):
        for seed, run in runs.items():
            if run.evaluations and (played := run.evaluations[0].get("unsteered")):
                outcomes[curve.place][seed] = played
    lines = []
    for place, by_seed in outcomes.items():
        there = [curve for curve in curves if curve.place == place]
        if any(curve.label == BASELINE for curve in there):  # a learner that never steers is a curve of its own
            continue
        steps = {point.mark: point.steps for curve in there for point in curve.points}
        points = tuple(Point(mark, steps[mark], by_seed) for mark in sorted(steps))
        lines.append(
            Curve(
                there[0].task,
                there[0].policy,
                BASELINE,
                place,
                tuple(sorted(by_seed)),
                points,
                frozen=True,
                together=there[0].together,
            )
        )
    return lines


def _marked(evaluations: Sequence[dict[str, Any]], every: int) -> dict[Mark, dict[str, Any]]:
    """The evaluations of one run by their marks."""
    marked: dict[Mark, dict[str, Any]] = {}
    for multiple, following in groupby(evaluations, lambda evaluation: every * (evaluation["steps"] // every)):
        marked.update({(multiple, number): evaluation for number, evaluation in enumerate(following)})
    return marked


def _paired(curve: Curve, other: Curve, first: bool) -> Tally | None:
    """The pairs of the last evaluation that both curves have, or of the first; None if they share no seed or none."""
    theirs = {point.mark: point for point in other.points}
    shared = [point for point in curve.points if point.mark in theirs]
    if not shared:
        return None
    point = shared[0 if first else -1]
    opposite = theirs[point.mark]
    pairs, starts = [], []
    for seed in sorted(point.outcomes.keys() & opposite.outcomes.keys()):
        for episode, outcomes in enumerate(zip(point.outcomes[seed], opposite.outcomes[seed], strict=False)):
            pairs.append(outcomes)
            starts.append(episode_key(curve.task, seed, episode).env_seed)
    return counted(pairs, starts) if pairs else None


def _short(path: Path, others: Collection[Path]) -> str:
    """The end of a folder's path that tells it from the others."""
    ends = ("/".join(path.parts[-count:]) for count in range(1, len(path.parts)))
    return next(end for end in ends if [f"/{other}".endswith(f"/{end}") for other in others].count(True) == 1)
