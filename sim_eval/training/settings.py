"""The options of `sim-eval-train`, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tasks
from critics.objectives import OBJECTIVES
from policies.family import FAMILIES
from sim_eval.config.compose import CONFIGS, compose, folder, load_yaml
from sim_eval.config.plugins import Component
from sim_eval.config.values import one_of, whole, worker_count
from sim_eval.errors import RunError
from sim_eval.training.fit import LEAST_STEPS
from sim_eval.training.stages import STAGES, Recipe
from sim_eval.training.workspace import Workspace
from tasks.naming import full_name
from tasks.registry import check_exists


@dataclass(frozen=True)
class TrainSettings:
    """What to run, where, and with how much data and optimisation."""

    stages: tuple[str, ...]
    workspace: Workspace
    recipe: Recipe
    workers: int


def read_train_settings(arguments: Sequence[str]) -> TrainSettings:
    """`sim-eval-train`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("train", arguments)
    check_exists(**config["task"])
    task = full_name(**config["task"])
    config.update({name: value for name, value in _recipe(task).items() if config[name] is None})
    stage = config["stage"]
    stages = tuple(STAGES) if one_of("stage", stage, [*STAGES, "all"]) == "all" else (stage,)
    if not isinstance(config["sloppy"], int | float) or not 0 <= config["sloppy"] <= 1:
        raise RunError(f"sloppy is {config['sloppy']}; accepted: a share from 0 to 1")
    methods = _names("critic_methods", config["critic_methods"], OBJECTIVES)
    counts = {"demos": 1, "rollouts": 2, "posterior_samples": 1, "batch": 1}  # a rollout is kept to score the critic
    counts |= dict.fromkeys(("policy_steps", "critic_steps", "posterior_steps"), LEAST_STEPS)
    recipe = Recipe(
        sloppy=float(config["sloppy"]),
        policies=[Component(family) for family in _names("families", config["families"], FAMILIES)],
        critic_methods=methods,
        ship_critic=one_of("ship_critic", config["ship_critic"], methods),
        **{name: whole(name, config[name], least) for name, least in counts.items()},
    )
    workspace = Workspace(
        task=task,
        data=folder(config["data"]),
        checkpoints=folder(config["checkpoints"]),
        seed=whole("seed", config["seed"], 0),
        make_task=partial(tasks.make, **config["task"]),
    )
    return TrainSettings(stages, workspace, recipe, worker_count(config["workers"]))


def _recipe(task: str) -> dict[str, Any]:
    """What the task's own checkpoints were trained on."""
    path = CONFIGS / "recipes.yaml"
    recipes = load_yaml(path)
    if task not in recipes:
        raise RunError(f"task {task} has no recipe in {path.name}; there are {', '.join(recipes)}")
    recipe: dict[str, Any] = recipes[task]
    return recipe


def _names(option: str, value: Any, accepted: Iterable[str]) -> list[str]:
    """One name or a list of names, each accepted."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise RunError(f"{option} is empty; accepted: {', '.join(accepted)}")
    return [one_of(option, name, accepted) for name in names]
