"""Check this installation, a task and a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim_eval.config.options import Choice, option

if TYPE_CHECKING:
    from sim_eval.installation.check import Check

USAGE = (
    "sim-eval doctor [option=value ...]    e.g. sim-eval doctor, sim-eval doctor task=can policy=flow\n\n"
    "Ends with status 1 if something is missing that every run needs."
)

_TASK = "can"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check this installation, a task and a policy."""

    task: Choice | None = option(
        None, f"task to build; null: none, with a policy {_TASK}; task.OPTION=VALUE as in a run"
    )
    policy: Choice | None = option(None, "policy to try; null: none; policy.OPTION=VALUE is passed to it")
    critic: Choice = option(Choice("default"), "its critic, which steers the decisions that are timed; none: no critic")
    checkpoints: Path | None = option(None, "folder of the checkpoints; null: the shipped ones")
    device: str = option("auto", "where the models run", choices=("auto", "cpu", "cuda"))


def run(options: Options) -> int:
    """Print a line for each check; the status is 1 if a check is fatal. Raises RunError or TaskError for what cannot
    be built."""
    if report(installation()):
        return 1
    if options.task is not None or options.policy is not None:
        report(_tried(options))
    return 0


def report(checks: Iterable[Check]) -> bool:
    """Print the checks as they come; whether one is fatal."""
    fatal = False
    for check in checks:
        print(check.line, flush=True)
        fatal |= check.fatal
    return fatal


def installation() -> Iterator[Check]:
    """The checks that need neither task nor policy."""
    from sim_eval.installation import machine, packages

    yield packages.python_check()
    yield from packages.package_checks()
    yield machine.simulator_check()
    yield machine.compiler_check()
    yield machine.gl_check()
    yield machine.ffmpeg_check()
    yield machine.gpu_check()
    yield from packages.extra_checks()
    yield machine.cores_check()
    yield machine.disk_check()


def _tried(options: Options) -> list[Check]:
    """The checks of the task, and of the policy on it."""
    from sim_eval.config.options import from_values
    from sim_eval.config.tasks import task_of
    from sim_eval.installation.trial import try_policy, try_task
    from sim_eval.models.options import CriticOptions
    from sim_eval.models.store import ROOT

    named = options.task or Choice(_TASK)
    if options.policy is None:
        task = task_of(named)
        return try_task(task.full_name, task.factory())
    models = from_values(
        CriticOptions,
        task=named,
        policy=options.policy,
        critic=options.critic,
        checkpoints=options.checkpoints,
        device=options.device,
    )
    task, root = models.task, models.checkpoints or ROOT
    return try_policy(task.full_name, task.factory(), models.policy, models.critic, root, models.device)
