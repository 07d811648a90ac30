"""The options of `sim-eval-train-vla`, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sim_eval.config.compose import CONFIGS, compose, folder, load_yaml
from sim_eval.config.values import one_of, whole, worker_count
from sim_eval.training.fit import LEAST_STEPS


@dataclass(frozen=True)
class VLARecipe:
    """How a variant is trained.

    demonstrations: task to style to number of episodes. wordings: task to other wordings of its instruction.
    shares: how often a decision of a task is drawn, relative to 1.
    """

    variant: str
    demonstrations: Mapping[str, Mapping[str, int]]
    wordings: Mapping[str, Sequence[str]]
    steps: int
    batch: int
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VLASettings:
    """What to train, from which folder of demonstrations into which folder of checkpoints."""

    recipe: VLARecipe
    data: Path
    checkpoints: Path
    seed: int
    workers: int


def read_vla_settings(arguments: Sequence[str]) -> VLASettings:
    """`sim-eval-train-vla`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("train_vla", arguments)
    known = load_yaml(CONFIGS / "mini_vla.yaml")
    variant = one_of("variant", config["variant"], known["variants"])
    how = known["variants"][variant]
    steps = how["steps"] if config["steps"] is None else whole("steps", config["steps"], LEAST_STEPS)
    wordings = {task: known["wordings"][task] for task in how["demonstrations"]}
    batch = whole("batch", config["batch"], 1)
    return VLASettings(
        recipe=VLARecipe(variant, how["demonstrations"], wordings, steps, batch, known["shares"]),
        data=folder(config["data"]),
        checkpoints=folder(config["checkpoints"]),
        seed=whole("seed", config["seed"], 0),
        workers=worker_count(config["workers"]),
    )
