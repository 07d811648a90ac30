"""List the tasks, policies, samplers and checkpoints that there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_eval.config.options import Choice, option
from sim_eval.foundation.errors import RunError

if TYPE_CHECKING:
    from sim_eval.installation.cards import Card

USAGE = "sim-eval list [tasks|policies|samplers|checkpoints] [option=value ...]    e.g. sim-eval list tasks"

KINDS = ("tasks", "policies", "samplers", "checkpoints")


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the tasks, policies, samplers and checkpoints that there are."""

    what: str = option("all", "what to list; all: the names alone", choices=("all", *KINDS))
    task: Choice | None = option(
        None, "list the tasks of this suite with their instructions; task.index=N, task.perturbation=NAME: these alone"
    )
    checkpoints: Path | None = option(None, "folder of the checkpoints; null: the shipped ones")


def run(options: Options) -> int:
    """Print the tables. Raises RunError or TaskError for a folder without checkpoints and for an unknown task."""
    from sim_eval.foundation.files import resource
    from sim_eval.installation.cards import read_cards

    if options.task is not None and options.what not in ("all", "tasks"):
        raise RunError(f"task is {options.task.value}, and {options.what} are listed; accepted with it: list tasks")
    root = options.checkpoints or resource("checkpoints")
    if options.task is not None:
        lines = _tasks_of(options.task, read_cards(root))
    elif options.what == "all":
        lines = overview(root)
    else:
        lines = listed(options.what, root)
    print("\n".join(lines))
    return 0


def listed(what: str, root: Path) -> list[str]:
    """The table of one of `KINDS`, and notes below it. `root`: the folder of the checkpoints."""
    from sim_eval.installation import cards, policies, samplers, tasks

    if what == "tasks":
        return _with_notes(tasks.TaskRow, tasks.task_rows(cards.read_cards(root)), tasks.NOTES)
    if what == "policies":
        return _with_notes(policies.PolicyRow, policies.policy_rows(cards.read_cards(root)), policies.NOTES)
    if what == "samplers":
        return _with_notes(samplers.SamplerRow, samplers.sampler_rows(), samplers.NOTES)
    return _with_notes(cards.CheckpointRow, cards.checkpoint_rows(root), (f"in {root}",))


def overview(root: Path) -> list[str]:
    """The names of everything, a table row for each of `KINDS`. `root`: the folder of the checkpoints."""
    from sim_eval.config.components import entry_points
    from sim_eval.config.samplers import SHIPPED
    from sim_eval.installation.cards import policies_of, read_cards
    from sim_eval.installation.table import table
    from tasks.registry import TASKS

    cards = read_cards(root)
    folders = {card.path.parent for card in cards}
    size = sum(card.megabytes for card in cards)
    rows = [
        ("tasks", ", ".join([*sorted(TASKS), *sorted(entry_points("task"))])),
        ("policies", ", ".join([*policies_of(cards), *sorted(entry_points("policy"))])),
        ("samplers", ", ".join([*SHIPPED, *sorted(entry_points("samplers"))])),
        ("checkpoints", f"{len(cards)} in {len(folders)} folders, {size:.0f} MB, in {root}"),
    ]
    return [*table(("list", "names"), rows), "", "more of each: sim-eval list tasks, and so on"]


def _tasks_of(task: Choice, cards: Iterable[Card]) -> list[str]:
    from sim_eval.config.components import typed_as
    from sim_eval.installation.tasks import NOTES, TaskRow, suite_rows
    from tasks.registry import OPTION_TYPES

    given = {name: typed_as(value, OPTION_TYPES.get(name)) for name, value in task.options.items()}
    if "index" in given:
        if not str(given["index"]).isdigit():
            raise RunError(f"task.index is {given['index']}; accepted: a whole number of at least 0")
        given["index"] = int(given["index"])
    return _with_notes(TaskRow, suite_rows(str(task.value), given, cards), NOTES[:-1])


def _with_notes(kind: Any, rows: Iterable[tuple[str, ...]], notes: Iterable[str]) -> list[str]:
    from sim_eval.installation.table import WIDTH, table, wrapped

    return [*table(kind._fields, rows), "", *(line for note in notes for line in wrapped(note, WIDTH))]
