"""A LeRobot checkpoint: its folder, its configuration, and the policy with every weight checked."""

from __future__ import annotations

import contextlib
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from policies.allowance import Allowance
from policies.errors import PolicyError
from policies.lerobot import library
from policies.lerobot.json_file import read_object, shown

WEIGHTS = "model.safetensors"
#: Types whose code loads nothing but data. LeRobot's groot, pi0_fast and wall_x run code that a checkpoint names.
_TYPES = ("act", "diffusion", "pi0", "pi05", "smolvla", "tdmpc", "vqbet", "xvla")
#: Lengths that no weight's shape shows: a chunk is allocated at each decision.
_LENGTHS = ("chunk_size", "horizon", "n_action_steps", "n_obs_steps", "max_action_dim", "max_state_dim")
_LONGEST = 1000
_LARGEST_SIDE = 4096
#: Some versions of the library pass over any other.
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:[0-9]{1,3})?")
#: The number formats of weights.
STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
#: What training may have set otherwise. The weights of parts are in the checkpoint; none are fetched.
_FOR_INFERENCE = {
    "compile_model": False,
    "load_vlm_weights": False,
    "pretrained_backbone_weights": None,
    "rtc_config": None,
}


def folder_of(path: str) -> Path:
    """The folder of a checkpoint: `path` itself, or the local snapshot of a hub's OWNER/NAME[@REVISION].

    Only a snapshot that is not yet in the cache needs the network. Raises PolicyError if there is no such checkpoint.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        lacking = [name for name in ("config.json", WEIGHTS) if not (folder / name).is_file()]
        if lacking:
            raise PolicyError(f"policy.path={path}: the folder has no {' and no '.join(lacking)}")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = path.partition("@")
    accepted = "accepted: a folder with config.json and model.safetensors, or OWNER/NAME[@REVISION] of the hub"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise PolicyError(f"policy.path={path} is no folder; {accepted}")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=["*.json", "*.safetensors"]))
    except LocalEntryNotFoundError:
        raise PolicyError(f"policy.path={path}: not in the cache, and the hub cannot be reached; {accepted}") from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise PolicyError(f"policy.path={path}: {str(error).strip().splitlines()[0]}; {accepted}") from None


def read_config(folder: Path, device: torch.device, vlm: str | None) -> Any:
    """LeRobot's configuration of the checkpoint, for inference on `device`.

    `vlm`: where the configuration and the tokenizer of the vision-language model are, if not where the checkpoint
    says. Its weights are never fetched: the checkpoint has them. Raises PolicyError for a configuration that the
    installed version cannot read.
    """
    library.module("policies")  # registers the kinds of policy
    from draccus.utils import DecodingError, ParsingError

    content = read_object(folder / "config.json")
    kind = content.get("type")
    base = library.module("configs.policies").PreTrainedConfig
    known = sorted(set(base.get_known_choices()).intersection(_TYPES))
    if kind not in known:
        raise PolicyError(
            f"policy.path={folder}: config.json: type is {shown(kind)}; accepted of this LeRobot: {', '.join(known)}"
        )
    for name in _LENGTHS:
        value = content.get(name)
        if value is not None and not (type(value) is int and 1 <= value <= _LONGEST):
            raise PolicyError(f"policy.path={folder}: config.json: {name} is {shown(value)}; accepted: 1 to {_LONGEST}")
    trained_on = content.get("device")
    if trained_on is not None and not (isinstance(trained_on, str) and _DEVICE.fullmatch(trained_on)):
        raise PolicyError(f"policy.path={folder}: config.json: device is {shown(trained_on)}; accepted: cpu, cuda, ...")
    try:
        config = base.from_pretrained(folder, cli_overrides=[f"--device={device.type}"])
    except (
        DecodingError,
        ParsingError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:  # how its classes refuse values
        installed = ".".join(map(str, library.version()))
        reason = " ".join(str(error).split())
        raise PolicyError(f"policy.path={folder}: LeRobot {installed} cannot read config.json: {reason:.300}") from None
    for name, value in _FOR_INFERENCE.items():
        if hasattr(config, name):
            setattr(config, name, value)
    if vlm is not None and hasattr(config, "vlm_model_name"):
        config.vlm_model_name = vlm
    _check_features(folder, config)
    return config


def _check_features(folder: Path, config: Any) -> None:
    """Raise PolicyError unless every feature has a shape of small lengths, and the action is a vector."""
    if not config.input_features:
        raise PolicyError(f"policy.path={folder}: config.json: input_features is empty")
    features = {**config.input_features, **(config.output_features or {})}
    for name, feature in features.items():
        shape = tuple(feature.shape)
        if len(shape) not in (1, 3) or not all(type(size) is int and 1 <= size <= _LARGEST_SIDE for size in shape):
            raise PolicyError(
                f"policy.path={folder}: config.json: {name:.80} has the shape {shown(shape)}; accepted: 1 or 3 lengths "
                f"of 1 to {_LARGEST_SIDE}"
            )
    if config.action_feature is None or len(config.action_feature.shape) != 1:
        raise PolicyError(f"policy.path={folder}: config.json: output_features has no action that is a vector")


@dataclass
class _Loaded:
    """The report of a policy's `load_state_dict`: names without a weight, and weights without a name."""

    missing: list[str]
    unexpected: list[str]


def load_policy(folder: Path, config: Any) -> nn.Module:
    """The policy with the checkpoint's weights, frozen, in evaluation mode.

    LeRobot's own loading is lenient: it passes over missing layers, for pi0 even over weights that cannot be read.
    Raises PolicyError that names the weights which are missing, unexpected or of another shape.
    """
    kind = library.module("policies.factory").get_policy_class(config.type)
    reports: list[_Loaded] = []

    class Checked(kind):  # type: ignore[misc, valid-type]
        def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
            result = super().load_state_dict(state, strict=False, assign=assign)
            reports.append(_Loaded(list(result.missing_keys), list(result.unexpected_keys)))
            return result

    stored, said = _stored(folder), io.StringIO()
    allowance = Allowance(f"policy.path={folder}: config.json", sum(math.prod(shape) for shape, _ in stored.values()))
    try:
        with contextlib.redirect_stdout(said), allowance:
            policy = Checked.from_pretrained(folder, config=config)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, OSError) as error:
        # However a configuration's values do not fit the library's network, or name a model that is not there.
        raise PolicyError(f"policy.path={folder}: {_sentences(str(error)):.2000}") from None
    for name, _ in policy.named_parameters():
        if name in stored and stored[name][1] not in STORED:
            raise PolicyError(
                f"policy.path={folder}: {name} in {WEIGHTS} is {stored[name][1]}; accepted: {', '.join(STORED)}"
            )
    if not reports:
        raise PolicyError(f"policy.path={folder}: its weights could not be loaded: {_sentences(said.getvalue())}")
    missing = _untied(policy, reports[-1].missing)
    faults = [
        f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for what, names in (("missing", missing), ("unexpected", reports[-1].unexpected))
        if names
    ]
    if faults:
        raise PolicyError(f"policy.path={folder}: weights in {WEIGHTS} that do not fit its config: {'; '.join(faults)}")
    return policy.requires_grad_(False).eval()


def _stored(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and number format of each tensor of the weights file, from its header."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise PolicyError(f"policy.path={folder}: {WEIGHTS} holds no weights that can be read: {error}") from None


def _untied(policy: nn.Module, missing: list[str]) -> list[str]:
    """The missing names that do not share their memory with a weight that was loaded."""
    tensors = {**dict(policy.named_parameters(remove_duplicate=False)), **dict(policy.named_buffers())}
    present = {tensor.data_ptr() for name, tensor in tensors.items() if name not in missing}
    return [name for name in missing if name not in tensors or tensors[name].data_ptr() not in present]


def _sentences(text: str) -> str:
    return " ".join(text.split())
