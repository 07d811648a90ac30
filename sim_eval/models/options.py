"""The options that select the models and their device: policy, critic, posterior, checkpoints, device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim_eval.config.components import TARGETS, Component, component
from sim_eval.config.options import Choice, Given, option
from sim_eval.config.tasks import TaskOptions
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import read_json
from sim_eval.foundation.files import expanded
from sim_eval.models import store

#: The target of a critic in a folder that `sim-eval learn` or `sim-eval train` wrote.
LEARNED = "sim_eval.models.checkpoints:critic_in"

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(TaskOptions):
    """The frozen policy."""

    policy: Component = option(
        Choice("flow"),
        "a checkpoint of the task (flow, diffusion, flow_weak) or of all tasks (mini_vla, mini_vla_strong), lerobot, "
        f"openpi, another entry point, {TARGETS}. policy.OPTION=VALUE is passed to it",
        kind="Choice",
    )
    posterior: Component = option(
        Choice("default"),
        "default: the checkpoint posterior_<policy>; flow: draws through the policy itself, posterior.steps=10 passes "
        "each; or as for policy",
        kind="Choice",
    )
    device: str = option(
        "auto",
        "where models run and are trained: cpu, cuda, or auto (cuda if there is a GPU and the policy is no checkpoint "
        "of this suite; these are faster on the CPU)",
        choices=DEVICES,
    )
    checkpoints: Path | None = option(None, "folder of the checkpoints; null: the shipped ones")

    @staticmethod
    def resolve(given: Given) -> None:
        root, task = given["checkpoints"], given["task"].full_name
        known = [*store.own_policies(root, task), *store.shared_policies(root)]
        also = f"{TARGETS}, a checkpoint in {store.task_folder(root, task)}"
        given["policy"] = component("policy", given["policy"], known, also)
        given["posterior"] = component("posterior", given["posterior"], ["default"])


@dataclass(frozen=True, kw_only=True)
class CriticOptions(ModelOptions):
    """The critic."""

    critic: Component | None = option(
        Choice("default"),
        "default: the policy's; another checkpoint (mini_vla for critic_mini_vla), the folder of a sim-eval learn "
        "or train, none, or as for policy. critic.OPTION=VALUE is passed to it",
        kind="Choice",
    )

    @staticmethod
    def resolve(given: Given) -> None:
        given["critic"] = _critic(given["critic"], given["policy"], given["checkpoints"], given["task"].full_name)


def _critic(choice: Choice, policy: Component, root: Path | None, task: str) -> Component | None:
    """The critic of a choice. Raises RunError for a missing checkpoint, an unknown component, and surplus options."""
    learned = _in_folder(choice.value, policy, task)
    if choice.options and (choice.value == "none" or learned is not None):
        raise RunError(f"critic.{next(iter(choice.options))}: critic={choice.value} takes no options")
    if choice.value is None or choice.value == "none":
        return None
    if learned is not None:
        return learned
    critics = store.critics(root, task)
    if policy.target is not None and (root is None or "default" not in critics):
        critics["default"] = store.CRITIC  # none that fits this policy: `build_models` refuses if a sampler needs it
    if policy.target is None and policy.label not in store.FAMILIES:
        critics["default"] = store.critic_of(policy.label)  # may be missing, as above
    also = (
        f"none, a folder of sim-eval learn or train with a critic of this task, {TARGETS}, a checkpoint in "
        f"{store.task_folder(root, task)}; sim-eval train stage=critic writes iql, monte_carlo and sarsa"
    )
    critic = component("critic", choice, critics, also)
    return critic if critic.target is not None else replace(critic, label=critics[critic.label])


def critic_method(critic: Component | None, task: str, root: Path | None) -> str | None:
    """The objective that trained a critic of this project, by its card; None for others, and for an unreadable card."""
    if critic is None or critic.target not in (None, LEARNED):
        return None
    folder, name = store.task_folder(root, task), critic.label
    if critic.target:
        folder, name = Path(critic.options["folder"]), critic.options.get("critic", store.CRITIC)
    card = store.card(folder, name)
    try:
        return str(read_json(card, dict[str, Any])["config"]["method"])
    except (ValueError, KeyError, TypeError):  # loading the critic tells what is wrong with its card
        return None


def _in_folder(value: object, policy: Component, task: str) -> Component | None:
    """The critic in the folder `critic`=`value`, if `sim-eval learn` or `sim-eval train` wrote one into it.

    `sim-eval train` writes into checkpoints/<task>; both folders name its critic.
    """
    if not isinstance(value, str):
        return None
    named = expanded(value)
    own = policy.target is None and policy.label not in store.FAMILIES
    for folder in (named, named / task):
        for name in (*([store.critic_of(policy.label)] if own else []), store.CRITIC):
            if store.weights(folder, name).is_file():
                options = {"folder": str(folder.resolve()), **({} if name == store.CRITIC else {"critic": name})}
                return Component(folder.resolve().name, LEARNED, options, "critic")
    return None
