"""The options that select the models and their device: policy, critic, posterior, checkpoints, device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from policies.family import FAMILIES
from sim_eval.config.components import Component, component
from sim_eval.config.compose import TARGETS, folder
from sim_eval.config.values import one_of
from sim_eval.errors import RunError
from sim_eval.fields import read_json
from sim_eval.files import resource
from sim_eval.models.checkpoints import ALL_TASKS

#: The target of a critic that sim-eval-learn wrote.
LEARNED = "sim_eval.models.checkpoints:critic_in"

DEVICES = ("auto", "cpu", "cuda")


def read_models(config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The fields `policy`, `critic`, `posterior`, `checkpoints` and `device` of settings for `task`.

    Raises RunError for a missing checkpoint, an unknown component and an unknown device.
    """
    root = None if config["checkpoints"] is None else folder(config["checkpoints"])
    place = task_checkpoints(root, task)
    stems = sorted(path.stem for path in place.glob("*.safetensors"))
    critics = {"default" if stem == "critic" else stem.removeprefix("critic_"): stem for stem in stems if _critic(stem)}
    shared = shared_policies(root)
    policies = own_policies(root, task)
    options = config["passed_on"]
    also = f"{TARGETS}, a checkpoint in {place}"
    policy = component("policy", config["policy"], options.get("policy", {}), [*policies, *shared], also)
    critic, critic_options = None, options.get("critic", {})
    learned = _critic_folder(config["critic"])
    if critic_options and (config["critic"] == "none" or learned is not None):
        raise RunError(f"critic.{next(iter(critic_options))}: critic={config['critic']} takes no options")
    if config["critic"] != "none":
        if policy.target is not None and root is None:
            critics["default"] = "critic"  # the shipped ones do not fit this policy: `build_models` refuses if needed
        if policy.target is None and policy.label not in FAMILIES:
            critics["default"] = f"critic_{policy.label}"  # may be missing, as above
        also = (
            f"none, a folder of sim-eval-learn, {also}; sim-eval-train stage=critic writes iql, monte_carlo and sarsa"
        )
        if learned is not None:
            critic = Component(learned.name, LEARNED, {"folder": str(learned)}, "critic")
        else:
            critic = component("critic", config["critic"], critic_options, critics, also)
        if critic.target is None:
            critic = replace(critic, label=critics[critic.label])
    return {
        "policy": policy,
        "critic": critic,
        "posterior": component("posterior", config["posterior"], options.get("posterior", {}), ["default"]),
        "checkpoints": root,
        "device": one_of("device", config["device"], DEVICES),
    }


def task_checkpoints(root: Path | None, task: str) -> Path:
    """The folder of the task's checkpoints in `root`, by default the shipped ones."""
    return (root or resource("checkpoints")) / task


def own_policies(root: Path | None, task: str) -> list[str]:
    """The checkpoints of policies for this task alone in `root`, by default the shipped ones."""
    stems = [path.stem for path in task_checkpoints(root, task).glob("*.safetensors")]
    return sorted(stem for stem in stems if not _critic(stem) and not stem.startswith("posterior_"))


def shared_policies(root: Path | None) -> list[str]:
    """The checkpoints of policies for all tasks in `root`, by default the shipped ones."""
    return sorted(path.stem for path in task_checkpoints(root, ALL_TASKS).glob("*.safetensors"))


def critic_method(critic: Component | None, task: str, root: Path | None) -> str | None:
    """The objective that trained a critic of this project, by its card; None for others, and for an unreadable card."""
    if critic is None or critic.target not in (None, LEARNED):
        return None
    place = Path(critic.options["folder"]) / "critic" if critic.target else task_checkpoints(root, task) / critic.label
    try:
        return str(read_json(place.with_suffix(".json"), dict[str, Any])["config"]["method"])
    except (OSError, ValueError, KeyError, TypeError):  # loading the critic tells what is wrong with its card
        return None


def _critic_folder(value: object) -> Path | None:
    """The folder that `critic`=`value` names, if it is one that sim-eval-learn wrote a critic into."""
    if not isinstance(value, str) or not (folder(value) / "critic.safetensors").is_file():
        return None
    return folder(value).resolve()


def _critic(stem: str) -> bool:
    return stem == "critic" or stem.startswith("critic_")
