"""The steps of a checkpoint's processors, checked before the library builds them.

The library imports and calls whatever class a step names, and loads its state from any path. Here a step is one of the
library's own by its registered name, and its state lies in the folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from policies.errors import PolicyError
from policies.lerobot.json_file import read_object, shown

PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"

#: The registered steps of the accepted policies. None of them runs code that a checkpoint names; the library's
#: action_tokenizer_processor, groot_* and wall_x_* do.
KNOWN = frozenset(
    {
        "absolute_actions_processor",
        "device_processor",
        "normalizer_processor",
        "pi05_prepare_state_tokenizer_processor_step",
        "pi0_new_line_processor",
        "relative_actions_processor",
        "rename_observations_processor",
        "smolvla_new_line_processor",
        "to_batch_processor",
        "tokenizer_processor",
        "unnormalizer_processor",
        "xvla_add_domain_id",
        "xvla_image_scale",
        "xvla_image_to_float",
        "xvla_imagenet_normalize",
        "xvla_rotation_6d_to_axis_angle",
    }
)
_STATE_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.safetensors")
#: The statistics that a mode of normalisation needs.
_STATISTICS = {
    "IDENTITY": (),
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}


@dataclass(frozen=True)
class Step:
    """One step: its registered name, its configuration, and its tensors by name."""

    name: str
    config: Mapping[str, Any]
    state: Mapping[str, Tensor]


def read_steps(folder: Path, file: str) -> list[Step]:
    """The steps of a processor. Raises PolicyError for one that is not known, or whose state is not in the folder."""
    steps = read_object(folder / file).get("steps")
    if not isinstance(steps, list):
        raise PolicyError(f"policy.path={folder}: {file}: steps is {shown(steps)}; accepted: a list")
    return [_step(folder, f"policy.path={folder}: {file}: step {number}", step) for number, step in enumerate(steps)]


def _step(folder: Path, where: str, step: Any) -> Step:
    if not isinstance(step, dict):
        raise PolicyError(f"{where} is {shown(step)}; accepted: an object")
    if "class" in step:
        raise PolicyError(f"{where} names the class {shown(step['class'])}, which is not run; accepted: registry_name")
    name, config, state = step.get("registry_name"), step.get("config", {}), step.get("state_file")
    if not isinstance(name, str) or name not in KNOWN:
        raise PolicyError(f"{where}: registry_name is {shown(name)}; accepted: {', '.join(sorted(KNOWN))}")
    if not isinstance(config, dict) or "stats" in config:
        raise PolicyError(f"{where}: config is {shown(config)}; accepted: an object without stats")
    if not isinstance(eps := config.get("eps", 0.0), int | float) or not 0 <= eps <= 1:
        raise PolicyError(f"{where}: eps is {shown(eps)}; accepted: 0 to 1")
    if config.get("enabled") is True and "_actions_" in name:
        raise PolicyError(f"{where}: {name} is enabled; accepted: a checkpoint whose actions are scaled one by one")
    return Step(name, config, {} if state is None else _state(folder, where, state))


def _state(folder: Path, where: str, name: Any) -> dict[str, Tensor]:
    if not isinstance(name, str) or not _STATE_FILE.fullmatch(name) or not (folder / name).is_file():
        raise PolicyError(f"{where}: state_file is {shown(name)}; accepted: a .safetensors file of the folder")
    try:
        return load_file(folder / name)
    except (SafetensorError, OSError) as error:
        raise PolicyError(f"{where}: {name} holds no tensors that can be read: {error}") from None


def check_statistics(folder: Path, config: Any, pre: Sequence[Step], post: Sequence[Step]) -> None:
    """Check that what the policy's configuration normalises has statistics: the library passes over what has none.

    Raises PolicyError naming the feature and the statistics that are missing or do not fit it.
    """
    modes = {str(kind): mode.value for kind, mode in config.normalization_mapping.items()}
    for file, name, steps, features in (
        (PRE, "normalizer_processor", pre, config.input_features),
        (POST, "unnormalizer_processor", post, config.output_features),
    ):
        found = [step for step in steps if step.name == name]
        for feature, described in (features or {}).items():
            where = f"policy.path={folder}: {file}: {feature}"
            kind = described.type.value
            if len(found) > 1 or (not found and modes.get(kind, "IDENTITY") != "IDENTITY"):
                raise PolicyError(f"{where} is normalised by {len(found)} steps {name}; accepted: one")
            if found:
                _check_feature(where, found[0], feature, kind, modes.get(kind, "IDENTITY"), tuple(described.shape))


def _check_feature(where: str, step: Step, feature: str, kind: str, asked: str, shape: tuple[int, ...]) -> None:
    mapping, features, keys = (step.config.get(n) for n in ("norm_map", "features", "normalize_observation_keys"))
    if not isinstance(mapping, dict) or not isinstance(features, dict):
        raise PolicyError(f"{where}: its step has no norm_map or no features; accepted: objects")
    mode = mapping.get(kind, "IDENTITY")
    if not isinstance(mode, str) or mode not in _STATISTICS or (mode == "IDENTITY" != asked):
        raise PolicyError(f"{where}: norm_map has {shown(mode)} for {kind}; config.json has {asked}")
    if mode == "IDENTITY":
        return
    if feature not in features or (isinstance(keys, list) and kind != "ACTION" and feature not in keys):
        raise PolicyError(f"{where} is not among the features that its step normalises; config.json says {asked}")
    for name in _STATISTICS[mode]:
        stored = step.state.get(f"{feature}.{name}")
        if stored is None:
            there = ", ".join(sorted(step.state)[:6]) or "nothing"
            raise PolicyError(f"{where} has no statistic {feature}.{name}, which {mode} needs; there are {there:.300}")
        if not stored.is_floating_point() or not stored.isfinite().all() or not _fits(tuple(stored.shape), shape):
            raise PolicyError(
                f"{where}: {feature}.{name} is {stored.dtype} of shape {tuple(stored.shape)}; accepted: finite numbers "
                f"of shape {shape}"
            )
    low, high = (step.state[f"{feature}.{name}"] for name in _STATISTICS[mode])
    if ((high < 0) if mode == "MEAN_STD" else (high < low)).any():
        least = "0" if mode == "MEAN_STD" else f"{feature}.{_STATISTICS[mode][0]}"
        raise PolicyError(f"{where}: {feature}.{_STATISTICS[mode][1]} has an entry below {least}, which turns it round")


def _fits(stored: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether there is a statistic for each number, or for pictures one a channel."""
    return stored == shape or (len(shape) == 3 and stored == (shape[0], 1, 1))
