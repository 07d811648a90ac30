"""Files of tuned steering strengths, each with the models that it was tuned for:

can:                    the task
  flow:                 the policy
    policy: 2b53ed...   its SHA-256, as in a run's provenance
    critic: 5c4dd6...
    strengths: {qpilots_u: 1.0}
every_task: {qpilots_u: 0.6}    what has no entry of its own; only in the shipped file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sim_eval.config.compose import CONFIGS, load_yaml
from sim_eval.config.models import LEARNED
from sim_eval.config.plugins import Component
from sim_eval.errors import RunError
from sim_eval.files import write_text

#: The strengths for this project's critics, which all put Q on one scale, and for `scale: exact`.
SHIPPED = CONFIGS / "strengths.yaml"
EVERY_TASK = "every_task"


@dataclass(frozen=True)
class Tuned:
    """Strengths by sampler, and the SHA-256 of the policy and the critic that they were tuned for, empty for any."""

    policy: str = ""
    critic: str = ""
    strengths: Mapping[str, float] = field(default_factory=dict)

    def differing(self, fingerprints: Mapping[str, str]) -> list[str]:
        """Which of "policy" and "critic" differ in `fingerprints`, a mapping of role to SHA-256."""
        roles = {"policy": self.policy, "critic": self.critic}
        return [
            role for role, tuned_for in roles.items() if tuned_for and fingerprints.get(role, tuned_for) != tuned_for
        ]


def read_strengths(path: Path, task: str, policy: str) -> Tuned:
    """The entry of `path` for the task and the policy's label, empty if none. Raises RunError for any other file."""
    return _entry(load_yaml(path), path, task, policy)


def _entry(table: Mapping[str, Any], path: Path, task: str, policy: str) -> Tuned:
    try:
        return Tuned(**table.get(task, {}).get(policy, {}))
    except (AttributeError, TypeError):
        raise RunError(
            f"{path}: {task}: {policy} is no table of strengths; accepted: a file that sim-eval-sweep wrote"
        ) from None


def known_strengths(
    path: Path, task: str, policy: str, critic: Component | None, samplers: Mapping[str, Mapping[str, Any]]
) -> Tuned:
    """The entry of `path` for the task and the policy, else what it has for every task.

    The latter are for critics that this project has trained, and for samplers on the exact scale.
    """
    table = load_yaml(path)
    tuned = _entry(table, path, task, policy)
    if tuned != Tuned() or (critic is not None and critic.target not in (None, LEARNED)):
        return tuned
    shared = table.get(EVERY_TASK, {})
    exact = [name for name, config in samplers.items() if config.get("scale", "exact") == "exact"]
    return Tuned(strengths={name: shared[name] for name in exact if name in shared})


def fill_strengths(
    samplers: Mapping[str, Mapping[str, Any]], tuned: Tuned, where: str
) -> tuple[dict[str, Mapping[str, Any]], dict[str, float]]:
    """The samplers' configurations with missing strengths filled in from `tuned`, and the strengths filled in.

    Raises RunError for a shipped sampler that has no strength; the message says `where`, and how to get one.
    """
    filled, used = dict(samplers), {}
    for name, config in samplers.items():
        if config.get("strength") is None and name in tuned.strengths:
            used[name] = tuned.strengths[name]
            filled[name] = {**config, "strength": used[name]}
        elif "strength" in config and config["strength"] is None:
            raise RunError(
                f"no strength has been tuned for {where} sampler {name}; give one with sampler.{name}.strength=NUMBER, "
                "or tune it: sim-eval-sweep, then strengths=FILE"
            )
    return filled, used


def write_strengths(path: Path, task: str, policy: str, tuned: Tuned) -> None:
    """Add strengths to a file that `strengths=FILE` reads, keeping those of other samplers.

    Raises RunError as `check_writable`, and if the file cannot be written.
    """
    before = check_writable(path, task, policy, {"policy": tuned.policy, "critic": tuned.critic})
    table = load_yaml(path) if path.exists() else {}
    entry = {**asdict(tuned), "strengths": {**before.strengths, **tuned.strengths}}
    table.setdefault(task, {})[policy] = entry
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    write_text(path, "".join(line for line in lines if line.startswith("#")) + OmegaConf.to_yaml(table))


def check_writable(path: Path, task: str, policy: str, fingerprints: Mapping[str, str]) -> Tuned:
    """The entry of `path` for the task and policy. Raises RunError if it was tuned for other models."""
    before = read_strengths(path, task, policy) if path.exists() else Tuned()
    if before.strengths and before.differing(fingerprints):
        raise RunError(
            f"output={path} holds strengths of task={task} policy={policy} that were tuned for another "
            f"{' and '.join(before.differing(fingerprints))}; accepted: another output=FILE, or that entry deleted"
        )
    return before
