"""Reading and writing checkpoints: safetensors weights with a JSON card, checked against the task and each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from critics.actor import ActorConfig, ChunkActor
from critics.ensemble import CriticConfig, EnsembleCritic
from critics.implicit_value import IVL
from critics.outcome import OUTCOME, OutcomeConfig, OutcomeCritic
from policies.allowance import Allowance
from policies.chunk_policy import ChunkPolicy, PolicyConfig
from policies.errors import PolicyError
from policies.mini_vla import MiniVLA, MiniVLAConfig
from policies.policy import Denoiser, FrozenPolicy
from policies.posterior_net import PosteriorConfig, PosteriorNet
from sim_eval.foundation.bounded import shown
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, check_optional, read_json
from sim_eval.foundation.files import sha256, write_text, written
from sim_eval.models import store
from sim_eval.models.store import ALL_TASKS, ROOT, policy_folder

Module = TypeVar("Module", bound=nn.Module)
Config = TypeVar("Config")

#: Fields that a card must have.
_REQUIRED = {"kind": str, "task": str, "config": dict[str, Any], "weights_sha256": str}
#: Fields that a card may have; any others are only for the reader.
_OPTIONAL = {"policy_sha256": str, "action_mean": list[float], "action_std": list[float]}

#: Number formats of weights, and the largest size of a layer, an input or a chunk.
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_LARGEST_SIZE = 1_000_000
#: Of a weights file, which is hashed as a whole; the largest of the suite's has 7 MB.
_MOST_BYTES = 2_000_000_000


class CheckpointError(RunError):
    """A checkpoint is missing, damaged or does not fit; the message names the file and what was expected."""


@dataclass(frozen=True)
class Checkpoint:
    """A card and the weights that belong to it."""

    path: Path
    card: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.card["config"])


def save_checkpoint(
    directory: Path,
    name: str,
    module: ChunkPolicy | MiniVLA | EnsembleCritic | PosteriorNet | ChunkActor,
    card: Mapping[str, Any],
) -> None:
    """Write `name`.safetensors, weights in half and buffers in full precision, and the card `name`.json.

    `card` holds kind, task and the weights' origin (data hash, seed, command, figures); the module's config and the
    weights' hash are added. Raises RunError if a file cannot be written.
    """
    buffers = {key for key, _ in module.named_buffers()}
    tensors = {
        key: (value if key in buffers else value.half()).contiguous().cpu()
        for key, value in module.state_dict().items()
    }
    path = store.weights(directory, name)
    with written(path) as part:
        part.write_bytes(save(tensors))  # save_file would let nobody but the user read the file
    full = {**card, "config": asdict(module.config), "weights_sha256": sha256(path)}
    write_text(path.with_suffix(".json"), json.dumps(full, indent=2) + "\n")


def read_checkpoint(directory: Path, name: str, kind: str, task: str) -> Checkpoint:
    """Read and check one checkpoint. Raises CheckpointError naming what is wrong with it."""
    path = store.weights(directory, name)
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            there = ", ".join(store.names(directory)) or "no checkpoints"
            raise CheckpointError(f"checkpoint {file} is missing; {directory} holds {there}")
    card = _read_card(path.with_suffix(".json"))
    if card["kind"] != kind:
        raise CheckpointError(f"{path} is a {card['kind']}; a {kind} is needed")
    if card["task"] != task:
        raise CheckpointError(f"{path} was trained for task {card['task']}; task {task} was asked for")
    if path.stat().st_size > _MOST_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes; accepted: {_MOST_BYTES}")
    if sha256(path) != card["weights_sha256"]:
        raise CheckpointError(f"{path} is truncated or altered: its SHA-256 is not the one on its card")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    for key, tensor in weights.items():
        _check_tensor(f"{path}: {key}", key, tensor)
    return Checkpoint(path, card, weights)


def is_whole(directory: Path, name: str, kind: str, task: str) -> bool:
    """Whether the checkpoint is there and undamaged."""
    try:
        read_checkpoint(directory, name, kind, task)
    except CheckpointError:
        return False
    return True


def _check_tensor(where: str, key: str, tensor: torch.Tensor) -> None:
    """Raise CheckpointError for what no training writes: it would load, and be wrong in silence."""
    if tensor.dtype not in _DTYPES:
        raise CheckpointError(f"{where} is {tensor.dtype}; accepted: {', '.join(map(str, _DTYPES))}")
    if not tensor.isfinite().all():
        raise CheckpointError(f"{where} holds NaN or infinity")
    if key.endswith(("_std", "scale")) and not (tensor > 0).all():
        raise CheckpointError(f"{where} holds {float(tensor.min()):.4g}; accepted: more than 0, as it divides")


def _read_card(path: Path) -> dict[str, Any]:
    """The card. Raises CheckpointError for what is no JSON, for a missing field and for one of another type."""
    try:
        card = read_json(path, dict[str, Any])
        check_fields(str(path), card, _REQUIRED)
        check_optional(str(path), card, _OPTIONAL)
    except RunError as error:
        raise CheckpointError(str(error)) from None
    return dict(card)


def _restore(make: Callable[[], Module], checkpoint: Checkpoint) -> Module:
    """The module that `make` builds, with the weights, frozen. A missing, surplus or misshapen tensor is an error.

    A config that describes a larger network than the weights is one, too, before it takes the memory.
    """
    stored = sum(tensor.numel() for tensor in checkpoint.weights.values())
    try:
        with Allowance(f"{checkpoint.path.with_suffix('.json')}: config", stored):
            module = make()
        module.load_state_dict({key: value.float() for key, value in checkpoint.weights.items()}, strict=True)
    except (PolicyError, ValueError, ArithmeticError) as error:  # a size of 0, or beyond what torch counts
        raise CheckpointError(f"{checkpoint.path}: bad config ({error})") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{checkpoint.path}: the weights do not fit the card's config ({reason:.2000})") from None
    return module.requires_grad_(False).eval()


def _build(kind: type[Config], checkpoint: Checkpoint) -> Config:
    path = checkpoint.path.with_suffix(".json")
    try:
        kinds = get_type_hints(kind)
        check_fields(
            f"{path}: config",
            checkpoint.config,
            {name: kinds[name] for name in checkpoint.config.keys() & kinds.keys()},
        )
        for name, value in checkpoint.config.items():
            _check_sizes(f"{path}: config: {name}", name, value)
        config = kind(**checkpoint.config)
        if (execute := checkpoint.config.get("execute") or 1) > (horizon := getattr(config, "horizon", execute)):
            raise CheckpointError(f"{path}: config: execute is {execute}; accepted: at most the horizon, {horizon}")
        return config
    except RunError as error:
        raise CheckpointError(str(error)) from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: bad config ({error})") from error


def _check_sizes(where: str, name: str, value: Any) -> None:
    """Raise CheckpointError for a size of a network, or of one of its inputs, that no checkpoint has."""
    for size in value.values() if isinstance(value, dict) else [value]:
        if type(size) is int and name != "pessimism" and not 1 <= size <= _LARGEST_SIZE:
            raise CheckpointError(f"{where} is {shown(size)}; accepted: 1 to {_LARGEST_SIZE}")


def load_policy(task: str, policy: str, root: Path = ROOT) -> ChunkPolicy | MiniVLA:
    """The frozen policy `policy` of `task`, or else of all tasks. Raises CheckpointError."""
    folder = policy_folder(task, policy, root)
    checkpoint = read_checkpoint(root / folder, policy, "policy", folder)
    if folder == ALL_TASKS:
        vla = _build(MiniVLAConfig, checkpoint)
        return _restore(lambda: MiniVLA(vla), checkpoint)
    config = _build(PolicyConfig, checkpoint)
    return _restore(lambda: ChunkPolicy(config), checkpoint)


def load_critic(task: str, critic: str, policy: FrozenPolicy, root: Path = ROOT) -> EnsembleCritic:
    """A critic of `task`. Raises CheckpointError, also if its chunks or normalisation do not fit `policy`."""
    return critic_in(root / task, task, policy, critic)


def critic_in(folder: Path | str, task: str, policy: FrozenPolicy, critic: str = store.CRITIC) -> EnsembleCritic:
    """A critic of `task` that `folder` holds itself. Raises CheckpointError as `load_critic`."""
    checkpoint = read_checkpoint(Path(folder), critic, "critic", task)
    of_outcomes = checkpoint.config.get("method") in (OUTCOME, IVL)
    config = _build(OutcomeConfig if of_outcomes else CriticConfig, checkpoint)
    _check_chunk(checkpoint, (config.horizon, config.action_dim), policy)
    for name, expected in zip(("action_mean", "action_std"), policy.normalisation(), strict=True):
        stored = torch.tensor(checkpoint.card.get(name, []), dtype=torch.float32)
        if stored.shape != expected.shape or not torch.allclose(stored, expected.cpu()):
            raise CheckpointError(
                f"{checkpoint.path} values actions in another normalisation than the policy's ({name})"
            )
    if isinstance(config, OutcomeConfig):
        outcome = config
        return _restore(lambda: OutcomeCritic(outcome), checkpoint)
    return _restore(lambda: EnsembleCritic(config), checkpoint)


def load_actor(folder: Path, task: str, need: str, policy: FrozenPolicy) -> ChunkActor:
    """The actor `need`, such as "noise_actor", that sim-eval learn wrote beside the critic in `folder`.

    Raises CheckpointError, also if its chunks do not fit `policy`.
    """
    checkpoint = read_checkpoint(folder, need, need, task)
    config = _build(ActorConfig, checkpoint)
    _check_chunk(checkpoint, (config.horizon, config.action_dim), policy)
    return _restore(lambda: ChunkActor(config), checkpoint)


def load_posterior(task: str, label: str, policy: Denoiser, fingerprint: str, root: Path = ROOT) -> PosteriorNet:
    """The posterior net of policy `label`. Raises CheckpointError, also if its policy had another `fingerprint`."""
    name = store.posterior_of(label)
    if not store.weights(root / task, name).exists():
        raise CheckpointError(
            f"{root / task} holds no posterior net of policy {label}; accepted: posterior=flow, which needs none, or "
            "checkpoints=DIR with the one that sim-eval train stage=posterior writes"
        )
    checkpoint = read_checkpoint(root / task, name, "posterior", task)
    config = _build(PosteriorConfig, checkpoint)
    _check_chunk(checkpoint, (config.horizon, config.action_dim), policy)
    if checkpoint.card.get("policy_sha256") != fingerprint:
        raise CheckpointError(
            f"{checkpoint.path} was trained from another {label} policy; train it again with "
            f"`sim-eval train task={task} stage=posterior`"
        )
    return _restore(lambda: PosteriorNet(config, policy), checkpoint)


def fingerprints(root: Path, task: str, role: str, name: str) -> dict[str, str]:
    """SHA-256 of a checkpoint's weights, under `role`, and of its configuration, under "`role` config".

    The configuration counts because it changes results too: `execute`, for example.
    """
    path = store.weights(root / task, name)
    config = _read_card(path.with_suffix(".json"))["config"]
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return {role: sha256(path), f"{role} config": digest}


def _check_chunk(checkpoint: Checkpoint, shape: tuple[int, int], policy: FrozenPolicy) -> None:
    expected = (policy.horizon, policy.action_dim)
    if shape != expected:
        raise CheckpointError(f"{checkpoint.path}: chunks of (horizon, action) {shape}; the policy draws {expected}")
