"""Train the small vision-language-action policy for all its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.options import Given, option
from sim_eval.config.values import one_of, worker_count
from sim_eval.foundation.fields import load_yaml
from sim_eval.foundation.files import resource
from sim_eval.runs.outputs import check_folder
from sim_eval.training.names import LEAST_STEPS

USAGE = "sim-eval train-vla [option=value ...]    e.g. sim-eval train-vla variant=mini_vla_strong checkpoints=DIR"

RECIPES = resource("configs") / "mini_vla.yaml"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train the small vision-language-action policy for all its tasks."""

    variant: str = option("mini_vla", "a variant of configs/mini_vla.yaml, which says how it is trained")
    seed: int = option(0, "determines data, weights and batches", least=0)
    workers: int = option(
        None,
        "worker processes for demonstrations; 0: everything in this process; null: one per core",
        least=0,
        kind="int | None",
    )
    data: Path = option(Path("data"), "folder of the demonstrations; those that are there are not played again")
    checkpoints: Path = option(Path("checkpoints"), "folder of the checkpoint")
    steps: int | None = option(None, "optimiser steps; null: the variant's", least=LEAST_STEPS)
    batch: int = option(64, "decisions in a mini-batch", least=1)

    @staticmethod
    def resolve(given: Given) -> None:
        one_of("variant", given["variant"], load_yaml(RECIPES)["variants"])
        check_folder("data", given["data"])
        check_folder("checkpoints", given["checkpoints"])
        given["workers"] = worker_count(given["workers"])


def run(options: Options) -> int:
    from sim_eval.training.vla import recipe_of, train_vla

    recipe = recipe_of(load_yaml(RECIPES), options.variant, options.steps, options.batch)
    train_vla(recipe, options.data, options.checkpoints, options.seed, options.workers)
    return 0
