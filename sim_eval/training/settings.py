"""The options of `sim-eval-train`, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critics.objectives import OBJECTIVES
from policies.family import FAMILIES
from sim_eval.config.components import Component, component
from sim_eval.config.compose import CONFIGS, TARGETS, compose, folder, load_yaml
from sim_eval.config.engine import Workers, read_workers
from sim_eval.config.tasks import read_task, task_factory, task_name
from sim_eval.config.values import listed, one_of, shown, whole
from sim_eval.errors import RunError
from sim_eval.models.options import DEVICES, own_policies, shared_policies
from sim_eval.training.fit import LEAST_STEPS
from sim_eval.training.stages import OUTSIDE, STAGES, Recipe
from sim_eval.training.workspace import Workspace


@dataclass(frozen=True)
class TrainSettings:
    """What to run, where, and with how much data and optimisation."""

    stages: tuple[str, ...]
    workspace: Workspace
    recipe: Recipe
    workers: Workers


def read_train_settings(arguments: Sequence[str]) -> TrainSettings:
    """`sim-eval-train`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("train", [_listed_stages(argument) for argument in arguments])
    task_options = read_task(config)
    task = task_name(task_options)
    families = _families(config, task)
    policies = _policies(config, families, task)
    workspace = Workspace(
        task=task,
        data=folder(config["data"]),
        checkpoints=folder(config["checkpoints"]),
        seed=whole("seed", config["seed"], 0),
        make_task=task_factory(task_options),
        variant=config["variant"],
        task_options=task_options,
    )
    stages = _stages(config, from_outside=config["policy"] is not None)
    return TrainSettings(stages, workspace, _recipe(config, families, policies), read_workers(config))


def _listed_stages(argument: str) -> str:
    """stage=critic and stage=rollouts,critic as the lists that Hydra takes."""
    option, _, value = argument.partition("=")
    return f"stage=[{value}]" if option == "stage" and not value.startswith("[") else argument


def _families(config: dict[str, Any], task: str) -> list[str]:
    """The families that are trained here, none for a policy from outside; fills in what the task's recipe leaves
    open.
    """
    if config["policy"] is not None:
        for option in ("variant", "families", "demos", "sloppy", "policy_steps"):
            if config[option] is not None:
                value = shown(config[option])
                raise RunError(f"{option} is {value}, and policy is {config['policy']}; accepted: one of the two")
        config["sloppy"] = 0.0
        return []
    if given := [option for option in config["given"] if option.startswith("policy.")]:
        raise RunError(f"{given[0]} is given, and policy is null; accepted with it: policy={TARGETS}")
    path = CONFIGS / "recipes.yaml"
    recipes = load_yaml(path)
    if task not in recipes:
        raise RunError(
            f"task {task} has no recipe in {path.name}; accepted: {', '.join(recipes)}, or policy={TARGETS}, whose "
            "critic and posterior net need no recipe"
        )
    recipe = recipes[task]
    variants = {name: value for name, value in recipe.items() if isinstance(value, dict)}
    if config["variant"] is not None:
        recipe = variants[one_of("variant", config["variant"], variants, "null")]
    config.update({name: value for name, value in recipe.items() if name in config and config[name] is None})
    return _names("families", config["families"], FAMILIES)


def _policies(config: dict[str, Any], families: Sequence[str], task: str) -> list[Component]:
    """The policies that critics and posterior nets are for."""
    if config["policy"] is None:
        suffix = "" if config["variant"] is None else f"_{config['variant']}"
        return [Component(f"{family}{suffix}") for family in families]
    root = folder(config["checkpoints"])
    others = [name for name in own_policies(root, task) if name not in FAMILIES]
    trained = [*others, *shared_policies(root)]
    policy = component("policy", config["policy"], config["passed_on"].get("policy", {}), trained, TARGETS)
    if policy.target is not None and "checkpoints" not in config["given"]:
        raise RunError(
            f"policy is {config['policy']}, and checkpoints is not given; accepted: checkpoints=DIR, a folder for "
            "its critic and posterior net (checkpoints/ holds those of the shipped policies)"
        )
    return [policy]


def _stages(config: dict[str, Any], from_outside: bool) -> tuple[str, ...]:
    every = OUTSIDE if from_outside else tuple(STAGES)
    named = _names("stage", config["stage"], [*STAGES, "all"])
    if from_outside and (trained := [stage for stage in named if stage not in (*OUTSIDE, "all")]):
        raise RunError(
            f"stage is {trained[0]}, and policy={config['policy']} is trained elsewhere; accepted: {', '.join(OUTSIDE)}"
        )
    return every if "all" in named else tuple(stage for stage in STAGES if stage in named)


def _recipe(config: dict[str, Any], families: Sequence[str], policies: Sequence[Component]) -> Recipe:
    if not isinstance(config["sloppy"], int | float) or not 0 <= config["sloppy"] <= 1:
        raise RunError(f"sloppy is {config['sloppy']}; accepted: a share from 0 to 1")
    methods = _names("critic_methods", config["critic_methods"], OBJECTIVES)
    counts = {"rollouts": 2, "posterior_samples": 1, "batch": 1}  # a rollout is kept to score the critic
    counts |= dict.fromkeys(("critic_steps", "posterior_steps"), LEAST_STEPS)
    if config["policy"] is None:
        counts |= {"demos": 1, "policy_steps": LEAST_STEPS}
    inputs = one_of("critic.inputs", config["critic"]["inputs"], ("state", "features"))
    numbers = {name: whole(name, config[name], least) for name, least in counts.items()}
    return Recipe(
        policies=policies,
        families=families,
        demos=numbers.pop("demos", 0),
        sloppy=float(config["sloppy"]),
        policy_steps=numbers.pop("policy_steps", 0),
        critic_methods=methods,
        ship_critic=one_of("ship_critic", config["ship_critic"], methods),
        critic_inputs=inputs,
        critic_demos=_critic_demos(config["critic"]["demos"], inputs),
        device=one_of("device", config["device"], DEVICES),
        from_outside=config["policy"] is not None,
        **numbers,
    )


def _critic_demos(value: Any, inputs: str) -> list[Path]:
    paths = [] if value is None else [folder(name) for name in listed("critic.demos", value)]
    if paths and inputs == "features":
        raise RunError("critic.demos is given, and critic.inputs is features; accepted with it: critic.inputs=state")
    for path in paths:
        if not path.is_file():
            raise RunError(f"critic.demos names {path}, which is no file; accepted: robomimic HDF5 files")
    return paths


def _names(option: str, value: Any, accepted: Iterable[str]) -> list[str]:
    """A name or a list of names, each accepted."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise RunError(f"{option} is empty; accepted: {', '.join(accepted)}")
    return [one_of(option, name, accepted) for name in names]
