"""Tasks as rows. Every fact comes from the registry, the tables of OGBench's domains and LIBERO's files; no simulator
is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sim_eval.config.components import entry_points
from sim_eval.installation.cards import Card, policies_of
from tasks.libero_suites import SUITES, is_libero
from tasks.naming import ANY_ROBOSUITE, GYMNASIUM, OGBENCH, full_name
from tasks.ogbench_domains import DOMAINS, TASKS_OF_A_DOMAIN
from tasks.panda_task import CAMERAS
from tasks.registry import TASKS, known_of, published_starts, task_options
from tasks.robosuite_any import environment_names
from tasks.robosuite_task import MAX_STEPS


class TaskRow(NamedTuple):
    """A task: control steps of an episode, starts that its benchmark publishes, instruction and shipped policies."""

    task: str
    steps: str
    starts: str
    instruction: str


#: Of OGBench's scenes, by robot.
_OTHER_CAMERAS = {domain.robot.name: ", ".join(domain.robot.cameras) for domain in DOMAINS.values()}

#: What is the same for all tasks of the suite, and what the rows do not say.
NOTES = (
    f"cameras: {', '.join(CAMERAS)}; of ogbench's "
    + "; ".join(f"{robot} {cameras}" for robot, cameras in sorted(_OTHER_CAMERAS.items())),
    "steps: control steps of an episode, 20 a second, ant 10, humanoid 40; starts: those that the benchmark publishes",
    "a task of your own: task=package.module:NAME or task=./file.py:NAME",
)


def task_rows(cards: Iterable[Card]) -> list[TaskRow]:
    """A row for each task and suite, then for each entry point, about which only its own code knows more."""
    policies = policies_by_task(cards)
    rows = [_row(name, policies) for name in sorted(TASKS)]
    for name, target in sorted(entry_points("task").items()):
        rows.append(TaskRow(name, "", "", f"{target}, of another package; what it is shows once it is built"))
    return rows


def _row(name: str, policies: Mapping[str, list[str]]) -> TaskRow:
    if name in SUITES:
        suite = SUITES[name]
        own = {task: names for task, names in policies.items() if suite_and_index(task)[0] == name}
        told = f"{suite.tasks} tasks, listed by task={name}"
        return TaskRow(
            f"{name}.0 .. {suite.tasks - 1}",
            str(suite.max_steps),
            str(published_starts(name)),
            "\n".join([told, *_policies_of_suite(own)]),
        )
    if name == ANY_ROBOSUITE:
        return TaskRow(name, str(MAX_STEPS), "", f"the environment task.env in words; listed by task={name}")
    if name == OGBENCH:
        limits = [domain.max_steps for domain in DOMAINS.values()]
        told = f"{len(DOMAINS) * TASKS_OF_A_DOMAIN} tasks of {len(DOMAINS)} domains, listed by task={name}"
        return TaskRow(name, f"{min(limits)} .. {max(limits)}", "", told)
    if name == GYMNASIUM:
        return TaskRow(name, "", "", "a registered environment, task.id=ID, whose success is task.success=KEY")
    return _known(name, name, {}, policies)


def _policies_of_suite(policies: Mapping[str, list[str]]) -> list[str]:
    """The policies of a suite's tasks in one line; none if it has none."""
    names = sorted({name for names in policies.values() for name in names})
    indices = {name: [suite_and_index(task)[1] for task in policies if name in policies[task]] for name in names}
    told = [f"{name} ({', '.join(map(str, sorted(indices[name])))})" for name in names]
    return [f"policies: {', '.join(told)}"] if told else []


def suite_rows(name: str, options: Mapping[str, Any], cards: Iterable[Card]) -> list[TaskRow]:
    """A row for each task that `name` stands for: the tasks of a suite, robosuite's environments, OGBench's domains, or
    one task.

    options: of the task, such as `index` and `perturbation`, which leave the rows of these alone. Raises
    TaskError as `tasks.registry.task_options`.
    """
    policies = policies_by_task(cards)
    if name in SUITES and "index" not in options:
        every: list[dict[str, Any]] = [{"index": index} for index in range(SUITES[name].tasks)]
    elif name == ANY_ROBOSUITE and "env" not in options:
        every = [{"env": env} for env in sorted(environment_names())]
    elif name == OGBENCH:
        domains = () if "env" in options else DOMAINS
        numbers = () if "index" in options else range(1, TASKS_OF_A_DOMAIN + 1)
        every = [{"env": env} for env in domains] or [{}]
        every = [{**own, "index": index} for own in every for index in numbers] or every
    else:
        every = [{}]
    rows = []
    for own in every:
        taken = task_options(name, **options, **own)
        shown = f"{name}.{taken['index']}" if name in SUITES else full_name(name, **taken)
        rows.append(_known(shown, name, taken, policies))
    return rows


def _known(shown: str, name: str, options: Mapping[str, Any], policies: Mapping[str, list[str]]) -> TaskRow:
    instruction, steps = known_of(name, **options)
    task = full_name(name, **options)
    starts = published_starts(task)
    told = [f"policies: {', '.join(policies[task])}"] if task in policies else []
    return TaskRow(shown, str(steps), "" if starts is None else str(starts), "\n".join([instruction, *told]))


def policies_by_task(cards: Iterable[Card]) -> dict[str, list[str]]:
    """By full name of a task, the policies that were trained for it, sorted."""
    found: dict[str, list[str]] = {}
    for name, own in policies_of(cards).items():
        for task in sorted({task for card in own for task in card.tasks}):
            found.setdefault(task, []).append(name)
    return found


def suite_and_index(task: str) -> tuple[str, int]:
    """A task's name and its index in the suite, from its full name; ("libero_goal_swap", 3) for a variant's."""
    name, _, index = task.rpartition("_")
    return (name, int(index)) if index.isdigit() and is_libero(name) else (task, 0)


def compressed(tasks: Iterable[str]) -> str:
    """Full names in one line, those of a suite together: "can, libero_goal (0, 4)"."""
    found: dict[str, list[int]] = {}
    for task in sorted(tasks, key=suite_and_index):
        name, index = suite_and_index(task)
        found.setdefault(name, []).append(index)
    return ", ".join(
        f"{name} ({', '.join(map(str, indices))})" if is_libero(name) else name for name, indices in found.items()
    )
