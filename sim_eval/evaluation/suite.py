"""Several tasks in one evaluation: a parent folder with a run folder a task, one progress bar and one report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sim_eval.config.command_line import given
from sim_eval.config.options import Choice, Given, Text, built
from sim_eval.evaluation.options import EvaluateOptions, default_output
from sim_eval.foundation.errors import RunError
from sim_eval.runs.reader import CONFIG
from tasks.libero_suites import SUITES
from tasks.naming import OGBENCH
from tasks.ogbench_domains import TASKS_OF_A_DOMAIN
from tasks.registry import names

#: The six main tasks, as the option `task` names them together.
SIX = "six"

#: The numbers of the tasks that `task.index` selects from.
_NUMBERS = {
    **{name: range(suite.tasks) for name, suite in SUITES.items()},
    OGBENCH: range(1, TASKS_OF_A_DOMAIN + 1),
}
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Suite:
    """Evaluations that differ in their task alone. output: the parent of their run folders."""

    runs: tuple[EvaluateOptions, ...]
    output: Path


def read_evaluation(arguments: Sequence[str]) -> EvaluateOptions | Suite:
    """The evaluation of one task, or a suite.

    Suites are `task=lift,can`, `task=six`, and `task=libero_goal task.index=all` or `task.index=0-4,7`. Raises
    RunError and TaskError as `read`.
    """
    found = given(EvaluateOptions, arguments)
    choices = list(tasks_of(found["task"]))
    if len(choices) == 1:
        return built(EvaluateOptions, with_task(found, choices[0]))
    parent = found["output"] or default_output("suite", str(found["policy"].value))
    if (parent / CONFIG).exists():
        raise RunError(f"output={parent} is the folder of one run; accepted for several tasks: another folder")
    runs = [built(EvaluateOptions, with_task(found, choice)) for choice in choices]
    doubled = sorted({run.task_name for run in runs if [other.task_name for other in runs].count(run.task_name) > 1})
    if doubled:
        raise RunError(f"task names {doubled[0]} twice; accepted: each task once")
    placed = (replace(run, output=parent / run.task_name, suite=parent.resolve().name) for run in runs)
    return Suite(tuple(placed), parent)


def tasks_of(choice: Choice) -> Iterator[Choice]:
    """A choice for each task that `task` and `task.index` name."""
    value = choice.value
    named = value.split(",") if isinstance(value, str) else [value]
    for name in (task for part in named for task in (names()[:6] if part == SIX else [part])):
        index = choice.options.get("index")
        if not isinstance(index, Text) or name not in _NUMBERS or index.isdecimal():
            yield replace(choice, value=name)
            continue
        for number in _indices(name, index):
            yield Choice(name, {**choice.options, "index": number})


def _indices(suite: str, text: str) -> list[int]:
    """The indices that `all`, `0-4` or `0-4,7` names. Raises RunError for another text."""
    numbers = _NUMBERS[suite]
    least, most = numbers[0], numbers[-1]
    if text == "all":
        return list(numbers)
    found: list[int] = []
    for part in text.strip("[]").split(","):
        ends = _RANGE.fullmatch(part.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (least, -1)
        if not least <= first <= last <= most:
            example = "0-4,7" if suite in SUITES else "1-3,5"
            raise RunError(
                f"task.index is {text}; accepted for {suite}: all, or numbers from {least} to {most}, as in {example}"
            )
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def with_task(found: Given, choice: Choice) -> Given:
    """A copy, for building changes it."""
    copy = Given({**found, "task": choice})
    copy.named = found.named
    return copy
