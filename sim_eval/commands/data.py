"""Make play data of OGBench's domains with an arm, as the published ones were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.options import Choice, Given, option
from sim_eval.config.tasks import TaskChoice, task_of
from sim_eval.config.values import worker_count
from sim_eval.foundation.errors import RunError
from sim_eval.training.names import PLAY
from tasks.naming import OGBENCH
from tasks.ogbench_domains import ARM, DOMAINS

USAGE = "sim-eval data task=ogbench [option=value ...]    e.g. sim-eval data task=ogbench task.env=scene steps=100000"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make play data of an OGBench domain."""

    task: TaskChoice = option(
        Choice(OGBENCH),
        "ogbench, with task.env=DOMAIN: of cubes, scene or puzzles. The data are of all its tasks, without rewards",
        kind="Choice",
    )
    steps: int = option(1_000_000, "transitions, in episodes of 1000", least=1)
    validation: int = option(
        None, "transitions of the second file, FILE-val.npz; null: a tenth, as published; 0: no such file", least=0,
        kind="int | None",
    )  # fmt: skip
    seed: int = option(0, "determines the data, whatever workers is", least=0)
    workers: int = option(
        None, "worker processes; 0: everything in this process; null: one per core", least=0, kind="int | None"
    )
    output: Path = option(None, "the file; null: data/DOMAIN-play-v0.npz, its name there", kind="Path | None")
    overwrite: bool = option(False, "replace files that exist")

    @staticmethod
    def resolve(given: Given) -> None:
        if given["task"].value != OGBENCH:
            raise RunError(f"task is {given['task'].value}; accepted: {OGBENCH}")
        task = given["task"] = task_of(given["task"])
        domain = task.options["env"]
        if DOMAINS[domain].robot != ARM:
            arms = ", ".join(name for name, other in DOMAINS.items() if other.robot == ARM)
            raise RunError(f"task.env is {domain}, for which OGBench has no oracle; accepted: {arms}")
        if named := [name for name in given.named if name.startswith("task.") and name != "task.env"]:
            raise RunError(f"{named[0]} is given; accepted: task.env alone, since the data are of all its tasks")
        given["workers"] = worker_count(given["workers"])
        given["output"] = given["output"] or Path("data") / f"{domain}-play-v0.npz"
        if given["output"].suffix != PLAY:
            raise RunError(f"output is {given['output']}; accepted: a file that ends in .npz")
        if given["validation"] is None:
            given["validation"] = given["steps"] // 10


def run(options: Options) -> int:
    from sim_eval.training.play_data import validation_path, was_interrupted, write_play

    domain = options.task.options["env"]
    replaces = options.overwrite or was_interrupted(domain, options.seed, options.output)
    second = [validation_path(options.output)] if options.validation else []
    for path in (options.output, *second):
        if path.exists() and not replaces:
            raise RunError(f"{path} exists; accepted: overwrite=true or another output")
    speed = write_play(domain, options.steps, options.validation, options.seed, options.output, options.workers)
    print("\n".join(map(str, (options.output, *second))))
    print(f"{options.steps + options.validation} steps, {speed:.0f} a second")
    return 0
