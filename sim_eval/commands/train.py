"""Train the checkpoints of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_eval.config.components import TARGETS, Component, component
from sim_eval.config.engine import EngineOptions
from sim_eval.config.options import Choice, Given, group, option
from sim_eval.config.tasks import TaskOptions
from sim_eval.config.values import one_of, shown
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import load_yaml
from sim_eval.foundation.files import resource
from sim_eval.models import store
from sim_eval.models.options import DEVICES
from sim_eval.runs.outputs import check_folder
from sim_eval.training.critic_options import CriticTraining, check_actions_everywhere
from sim_eval.training.names import LEAST_STEPS, METHODS, OUTSIDE, PLAY, STAGES
from tasks.naming import OGBENCH, domain_of

if TYPE_CHECKING:
    from sim_eval.training.stages import Recipe
    from sim_eval.training.workspace import Workspace

USAGE = "sim-eval train [option=value ...]    e.g. sim-eval train task=can stage=rollouts,critic"

RECIPES = resource("configs") / "recipes.yaml"

#: Options that a task's recipe fills in, and that a policy from outside does not have.
_OF_RECIPES = ("families", "demos", "sloppy", "policy_steps", "horizon", "width", "depth")

#: The critics that a comparison of the methods needs; an evaluation reads one of them.
_EVERY_METHOD = ("monte_carlo", "sarsa", "iql")


@dataclass(frozen=True, kw_only=True)
class CriticData(CriticTraining):
    """The data that critics learn from, their size and their targets."""

    inputs: str = option(
        "state",
        "what critics read: state (the simulator's) or features (the policy's)",
        choices=("state", "features"),
    )
    demos: tuple[Path, ...] | None = option(
        None,
        "robomimic files of demonstrations that critics learn from beside the rollouts; null: those of stage demos, "
        "which must have run; with policy=, none",
        entries=1,
    )


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions, TaskOptions):
    """Train the checkpoints of a task. `policies`: those that critics and posterior nets are for."""

    policy: Component | None = option(
        None,
        f"your own policy, {TARGETS}, or flow_weak, mini_vla, for rollouts, critic and posterior; null: train the "
        "families",
        kind="Choice | None",
    )
    stage: tuple[str, ...] = option(
        ("all",),
        "demos, policy, rollouts, critic, posterior, several of these, or all in this order",
        choices=(*STAGES, "all"),
        entries=1,
    )
    seed: int = option(0, "determines data, weights and batches", least=0)
    data: Path = option(
        Path("data"), "folder of demonstrations and rollouts; for stage=policy of task=ogbench, a file of play, .npz"
    )
    checkpoints: Path = option(Path("checkpoints"), "folder of the checkpoints")
    variant: str | None = option(
        None,
        "weak: the task's second policy, which succeeds in 9 to 40 %; its files are called flow_weak, "
        "critic_flow_weak, ...",
    )
    families: tuple[str, ...] | None = option(
        None,
        "policies to train; critics learn from the first one's rollouts; null, also for the next six: see "
        "configs/recipes.yaml",
        choices=store.FAMILIES,
        entries=1,
    )
    demos: int | None = option(None, "number of demonstrations", least=1)
    sloppy: float | None = option(None, "share of demonstrations by the sloppy expert", least=0, most=1)
    policy_steps: int | None = option(None, "optimiser steps of behaviour cloning", least=LEAST_STEPS)
    horizon: int | None = option(None, "actions of a policy's chunk, all of which are executed", least=1)
    width: int | None = option(None, "units of a layer of the policies", least=1)
    depth: int | None = option(None, "layers of the policies", least=1)
    rollouts: int = option(500, "episodes of the policy, or of the first family's policy", least=2)
    critic_methods: tuple[str, ...] | None = option(
        None,
        f"critics to train, of {', '.join(METHODS)}; with several, each is saved as critic_<method>; null: "
        f"{', '.join(_EVERY_METHOD)}; for a policy of your own, ship_critic alone",
        choices=METHODS,
        entries=1,
    )
    ship_critic: str = option(
        "monte_carlo", "the one of critic_methods that is saved as `critic`, which evaluations read by default"
    )
    critic: CriticData = group(CriticData)
    critic_steps: int = option(4000, "optimiser steps of each critic", least=LEAST_STEPS)
    posterior_steps: int = option(6000, "optimiser steps of each posterior net", least=LEAST_STEPS)
    posterior_samples: int = option(25000, "noisy actions that a posterior net learns from, with 8 draws each", least=1)
    batch: int = option(512, "rows of a mini-batch", least=1)
    device: str = option("auto", "where models run and are trained, as for sim-eval evaluate", choices=DEVICES)
    policies: tuple[Component, ...] = ()

    @staticmethod
    def resolve(given: Given) -> None:
        if given["data"].suffix != PLAY:
            check_folder("data", given["data"])
        check_folder("checkpoints", given["checkpoints"])
        _check_demos(given["critic.demos"], given["critic.inputs"])
        choice, task = given["policy"], given["task"].full_name
        if choice is None or choice.value is None:
            if choice is not None:
                raise RunError(
                    f"policy.{next(iter(choice.options))} is given, and policy is null; accepted with it: "
                    f"policy={TARGETS}"
                )
            _fill_in(given, task)
            suffix = "" if given["variant"] is None else f"_{given['variant']}"
            given["policies"] = tuple(Component(f"{family}{suffix}") for family in given["families"])
        else:
            given["policy"] = _outside(given, choice, task)
            given["policies"] = (given["policy"],)
            if given["policy"].target is not None and given["critic_methods"] is None:
                given["critic_methods"] = (one_of("ship_critic", given["ship_critic"], METHODS),)
        given["stage"] = _stages(given["stage"], choice)
        one_of("ship_critic", given["ship_critic"], given["critic_methods"] or _EVERY_METHOD)
        check_actions_everywhere(
            "critic.actions_everywhere", given["critic.actions_everywhere"], given["critic_methods"] or _EVERY_METHOD
        )
        _check_play(given)

    def workspace(self) -> Workspace:
        """Where the stages read, write and train. Raises RunError for a device that cannot be had."""
        from sim_eval.models.build import resolve_device
        from sim_eval.training.workspace import Workspace

        return Workspace(
            task=self.task.full_name,
            data=self.data,
            checkpoints=self.checkpoints,
            seed=self.seed,
            device=resolve_device(self.device, self.policies[0]),
            make_task=self.task.factory(),
            variant=self.variant,
            task_options=self.task.stored(),
        )

    def recipe(self) -> Recipe:
        """How much data and how many optimiser steps each stage uses."""
        from sim_eval.training.stages import Recipe

        return Recipe(
            policies=self.policies,
            families=self.families or (),
            demos=self.demos or 0,
            sloppy=self.sloppy or 0.0,
            policy_steps=self.policy_steps or 0,
            rollouts=self.rollouts,
            critic_steps=self.critic_steps,
            posterior_steps=self.posterior_steps,
            posterior_samples=self.posterior_samples,
            batch=self.batch,
            critic_methods=self.critic_methods or _EVERY_METHOD,
            ship_critic=self.ship_critic,
            policy_size=self._policy_size(),
            critic_size=self.critic.size(),
            backup=self.critic.backup(),
            play=self.data if self.data.suffix == PLAY else None,
            critic_inputs=self.critic.inputs,
            critic_demos=self.critic.demos or (),
            device=self.device,
            from_outside=self.policy is not None,
        )

    def _policy_size(self) -> dict[str, int]:
        """What the recipe says of the policies' networks."""
        size = {"horizon": self.horizon, "execute": self.horizon, "width": self.width, "depth": self.depth}
        return {name: number for name, number in size.items() if number is not None}


def run(options: Options) -> int:
    from sim_eval.training.stages import run_stages

    run_stages(options.stage, options.workspace(), options.recipe(), options.workers)
    return 0


def _fill_in(given: Given, task: str) -> None:
    """Fill in what the task's recipe says. Raises RunError for a task without one, and for an unknown variant."""
    recipes = load_yaml(RECIPES)
    task = OGBENCH if domain_of(task) is not None else task
    if task not in recipes:
        raise RunError(
            f"task {task} has no recipe in {RECIPES.name}; accepted: {', '.join(recipes)}, or policy={TARGETS}, whose "
            "critic and posterior net need no recipe"
        )
    recipe: Mapping[str, Any] = recipes[task]
    if given["variant"] is not None:
        variants = {name: value for name, value in recipe.items() if isinstance(value, dict)}
        recipe = variants[one_of("variant", given["variant"], variants, "null")]
    for name in _OF_RECIPES:
        if given[name] is None:
            given[name] = tuple(recipe[name]) if name == "families" else recipe.get(name)


def _outside(given: Given, choice: Choice, task: str) -> Component:
    """The policy that is trained elsewhere. Raises RunError for an unknown one, and for options of a recipe."""
    for name in ("variant", *_OF_RECIPES):
        if given[name] is not None:
            raise RunError(f"{name} is {shown(given[name])}, and policy is {choice.value}; accepted: one of the two")
    root = given["checkpoints"]
    others = [name for name in store.own_policies(root, task) if name not in store.FAMILIES]
    policy = component("policy", choice, [*others, *store.shared_policies(root)], TARGETS)
    if policy.target is not None and "checkpoints" not in given.named:
        raise RunError(
            f"policy is {choice.value}, and checkpoints is not given; accepted: checkpoints=DIR, a folder for "
            "its critic and posterior net (checkpoints/ holds those of the shipped policies)"
        )
    return policy


def _stages(named: tuple[str, ...], choice: Choice | None) -> tuple[str, ...]:
    if choice is not None and (trained := [stage for stage in named if stage not in (*OUTSIDE, "all")]):
        raise RunError(
            f"stage is {trained[0]}, and policy={choice.value} is trained elsewhere; accepted: {', '.join(OUTSIDE)}"
        )
    every = STAGES if choice is None else OUTSIDE
    return every if "all" in named else tuple(stage for stage in STAGES if stage in named)


def _check_play(given: Given) -> None:
    """Raise RunError for a file of play where none is read, and for none where one is needed."""
    data, stages, task = given["data"], given["stage"], given["task"].full_name
    of_ogbench = domain_of(task) is not None and given["families"] is not None
    if data.suffix == PLAY:
        if not of_ogbench or stages != ("policy",):
            raise RunError(f"data is {data}; accepted for task {task}, stage {', '.join(stages)}: a folder")
        if not data.is_file():
            raise RunError(f"data names {data}, which is no file; accepted: one that sim-eval data wrote, or OGBench's")
    elif of_ogbench and {"demos", "policy"} & set(stages):
        raise RunError(
            f"task {task} has no scripted expert; accepted: stage=policy data=FILE{PLAY}, which sim-eval data makes, "
            f"or policy={TARGETS} for rollouts, critic and posterior"
        )


def _check_demos(paths: tuple[Path, ...] | None, inputs: str) -> None:
    if paths and inputs == "features":
        raise RunError("critic.demos is given, and critic.inputs is features; accepted with it: critic.inputs=state")
    for path in paths or ():
        if not path.is_file():
            raise RunError(f"critic.demos names {path}, which is no file; accepted: robomimic HDF5 files")
