"""Files of tuned steering strengths, each with the models that it was tuned for:

can:                    the task
  flow:                 the policy
    policy: 2b53ed...   its SHA-256, as in a run's provenance
    critic: 5c4dd6...
    strengths: {qpilots_u: 1.0, qpilots_m: 0.2}
    scales: {qpilots_m: matched}    the scale that a strength was tuned on, where it is not exact
every_task: {qpilots_u: 0.6}    what has no entry of its own; only in the shipped file
outcome: {qpilots_u: 2.0}       the same for critics of this method (`critics.objectives.OBJECTIVES`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import load_yaml
from sim_eval.foundation.files import resource, sha256, write_text
from sim_eval.models import store
from sim_eval.models.options import LEARNED

#: The strengths for this project's critics, which all put Q on one scale.
SHIPPED = resource("configs") / "strengths.yaml"
EVERY_TASK = "every_task"

#: In the folder of a `sim-eval learn`: the strength that was chosen for its critic.
STRENGTHS = "strengths.yaml"

#: The scale of a sampler without that option, and of a strength whose entry names none.
_EXACT = "exact"


@dataclass(frozen=True)
class Tuned:
    """Strengths by sampler, and the SHA-256 of the policy and the critic that they were tuned for, empty for any.

    `scales`: sampler to the `scale` that its strength was tuned on; a sampler that is not there is on the exact scale.
    Raises TypeError if one of the two is no mapping.
    """

    policy: str = ""
    critic: str = ""
    strengths: Mapping[str, float] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.strengths, Mapping) or not isinstance(self.scales, Mapping):
            raise TypeError(f"strengths is {self.strengths}, scales is {self.scales}")

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
            f"{path}: {task}: {policy} is no table of strengths; accepted: a file that sim-eval sweep wrote"
        ) from None


def known_strengths(
    path: Path,
    task: str,
    policy: str,
    critic: Component | None,
    samplers: Mapping[str, Mapping[str, Any]],
    method: str | None = None,
) -> Tuned:
    """The strengths of `samplers` in the entry of `path` for the task and the policy, else in that for every task.

    The latter is for critics that this project has trained, and there may be one for those of this `method`. The
    strength that `sim-eval learn` chose for its critic goes before it. A strength that was tuned on another scale than
    the sampler's is left out.
    """
    table = load_yaml(path)
    tuned = _entry(table, path, task, policy)
    if tuned == Tuned() and (critic is None or critic.target in (None, LEARNED)):
        tuned = Tuned(strengths=table.get(method if method in table else EVERY_TASK, {}))
        if critic is not None and (folder := critic.options.get("folder")):
            tuned = _with_chosen(tuned, Path(folder) / STRENGTHS, task, policy)
    fitting = [
        name
        for name, config in samplers.items()
        if name in tuned.strengths and _scale(config) == tuned.scales.get(name, _EXACT)
    ]
    return replace(tuned, strengths={name: tuned.strengths[name] for name in fitting})


def _with_chosen(tuned: Tuned, path: Path, task: str, policy: str) -> Tuned:
    """The strengths with those of the file `path`, if there is one, put first."""
    if not path.is_file():
        return tuned
    chosen = read_strengths(path, task, policy)
    weights = store.weights(path.parent, "critic")
    if weights.is_file() and chosen.critic == sha256(weights):
        chosen = replace(chosen, critic="")  # a run's fingerprint of this critic covers its folder's name, too
    return replace(chosen, strengths={**tuned.strengths, **chosen.strengths})


def scales_of(samplers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The field `scales` of `Tuned` for strengths that were tuned with these samplers' configurations."""
    return {name: _scale(config) for name, config in samplers.items() if _scale(config) != _EXACT}


def _scale(config: Mapping[str, Any]) -> str:
    return str(config.get("scale", _EXACT))


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
            on_scale = "" if _scale(config) == _EXACT else f" on scale={_scale(config)}"
            raise RunError(
                f"no strength has been tuned for {where} sampler {name}{on_scale}; "
                f"give one with sampler.{name}.strength=NUMBER, or tune it: sim-eval sweep, then strengths=FILE"
            )
    return filled, used


def write_strengths(path: Path, task: str, policy: str, tuned: Tuned) -> None:
    """Add strengths to a file that `strengths=FILE` reads, keeping those of other samplers.

    Raises RunError as `check_writable`, and if the file cannot be written.
    """
    before = check_writable(path, task, policy, {"policy": tuned.policy, "critic": tuned.critic})
    table = load_yaml(path) if path.exists() else {}
    kept = {name: scale for name, scale in before.scales.items() if name not in tuned.strengths}
    strengths = {**before.strengths, **tuned.strengths}
    entry = asdict(replace(tuned, strengths=strengths, scales={**kept, **tuned.scales}))
    if not entry["scales"]:
        del entry["scales"]
    table.setdefault(task, {})[policy] = entry
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
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
