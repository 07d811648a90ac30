"""The options that select the models and their device: policy, critic, posterior, checkpoints, device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim_eval.config.components import TARGETS, Component, component
from sim_eval.config.options import Choice, Given, option
from sim_eval.config.tasks import TaskOptions
from sim_eval.errors import RunError
from sim_eval.fields import read_json
from sim_eval.models import store

#: The target of a critic that `sim-eval learn` wrote.
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
    device: str = option("auto", "where the models run: cpu, cuda, or auto (cuda if available)", choices=DEVICES)
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
        "default: the policy's; another checkpoint (mini_vla for critic_mini_vla), the folder of a sim-eval learn, "
        "none, or as for policy. critic.OPTION=VALUE is passed to it",
        kind="Choice",
    )

    @staticmethod
    def resolve(given: Given) -> None:
        given["critic"] = _critic(given["critic"], given["policy"], given["checkpoints"], given["task"].full_name)


def _critic(choice: Choice, policy: Component, root: Path | None, task: str) -> Component | None:
    """The critic of a choice. Raises RunError for a missing checkpoint, an unknown component, and surplus options."""
    learned = _critic_folder(choice.value)
    if choice.options and (choice.value == "none" or learned is not None):
        raise RunError(f"critic.{next(iter(choice.options))}: critic={choice.value} takes no options")
    if choice.value is None or choice.value == "none":
        return None
    if learned is not None:
        return Component(learned.name, LEARNED, {"folder": str(learned)}, "critic")
    critics = store.critics(root, task)
    if policy.target is not None and root is None:
        critics["default"] = store.CRITIC  # the shipped ones do not fit this policy: `build_models` refuses if needed
    if policy.target is None and policy.label not in store.FAMILIES:
        critics["default"] = store.critic_of(policy.label)  # may be missing, as above
    also = (
        f"none, a folder of sim-eval learn, {TARGETS}, a checkpoint in {store.task_folder(root, task)}; "
        "sim-eval train stage=critic writes iql, monte_carlo and sarsa"
    )
    critic = component("critic", choice, critics, also)
    return critic if critic.target is not None else replace(critic, label=critics[critic.label])


def critic_method(critic: Component | None, task: str, root: Path | None) -> str | None:
    """The objective that trained a critic of this project, by its card; None for others, and for an unreadable card."""
    if critic is None or critic.target not in (None, LEARNED):
        return None
    folder = Path(critic.options["folder"]) if critic.target else store.task_folder(root, task)
    card = store.card(folder, store.CRITIC if critic.target else critic.label)
    try:
        return str(read_json(card, dict[str, Any])["config"]["method"])
    except (ValueError, KeyError, TypeError):  # loading the critic tells what is wrong with its card
        return None


def _critic_folder(value: object) -> Path | None:
    """The folder that `critic`=`value` names, if it is one that `sim-eval learn` wrote a critic into."""
    if not isinstance(value, str):
        return None
    folder = Path(value).expanduser()
    return folder.resolve() if store.weights(folder, store.CRITIC).is_file() else None
