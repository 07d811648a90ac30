"""Checkpoints: what is saved comes back, and every kind of damage or mismatch is named."""

from __future__ import annotations

import functools
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.chunk_policy import ChunkPolicy
from sim_eval.config.components import Component
from sim_eval.foundation.files import sha256
from sim_eval.models.build import build_models
from sim_eval.models.checkpoints import CheckpointError, load_policy, save_checkpoint
from sim_eval.samplers import Models
from sim_eval.samplers.sampler import required_denoiser
from tests.small_models import random_observation, small_models

NEEDS = frozenset({"critic", "posterior"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a policy, critic and posterior net for the task `toy`."""
    models = small_models("flow")
    policy = required_denoiser(models)
    assert isinstance(policy, ChunkPolicy)
    policy.action_std.fill_(0.5)
    folder = tmp_path / "toy"
    save_checkpoint(folder, "flow", policy, {"kind": "policy", "task": "toy"})
    statistics = {"action_mean": policy.action_mean.tolist(), "action_std": policy.action_std.tolist()}
    save_checkpoint(folder, "critic", models.critic, {"kind": "critic", "task": "toy", **statistics})  # type: ignore[arg-type]
    card = {"kind": "posterior", "task": "toy", "policy_sha256": sha256(folder / "flow.safetensors")}
    save_checkpoint(folder, "posterior_flow", models.posterior, card)  # type: ignore[arg-type]
    return tmp_path


def load(root: Path, needs: frozenset[str] = NEEDS) -> Models:
    return build_models("toy", Component("flow"), Component("critic"), Component("default"), needs, root, "cpu")


def edit_card(root: Path, name: str, change: Callable[[dict], object]) -> None:
    path = root / "toy" / f"{name}.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))


def test_who_may_read_the_card_may_read_the_weights(root: Path) -> None:
    weights = root / "toy" / "flow.safetensors"
    assert weights.stat().st_mode == weights.with_suffix(".json").stat().st_mode


def test_what_is_saved_comes_back(root: Path) -> None:
    models = load(root)
    original = required_denoiser(small_models("flow"))
    context, observation = required_denoiser(models).encode(random_observation(8)), random_observation(8)
    assert torch.allclose(context, original.encode(observation), atol=1e-2)  # half precision on disk
    assert required_denoiser(models).unnormalise(torch.ones(1, 8, 7)).max() == np.float32(0.5)
    roles = {"policy", "critic", "posterior"}
    assert set(models.fingerprints) == roles | {f"{role} config" for role in roles}
    assert models.fingerprints["policy"] == sha256(root / "toy" / "flow.safetensors")
    assert not any(p.requires_grad for p in required_denoiser(models).parameters())  # type: ignore[attr-defined]


def test_what_builds_models_pickles(root: Path) -> None:
    """So that another process can build its own, as it builds its own task."""
    make_models = functools.partial(
        build_models, "toy", Component("flow"), Component("critic"), Component("default"), NEEDS, root, "cpu"
    )
    assert pickle.loads(pickle.dumps(make_models))().fingerprints == make_models().fingerprints


def test_only_what_is_needed_is_read(root: Path) -> None:
    (root / "toy" / "posterior_flow.safetensors").unlink()
    models = load(root, frozenset({"critic"}))
    assert models.posterior is None
    assert {"policy", "critic"} == {role.split()[0] for role in models.fingerprints}


def test_a_changed_card_is_another_policy(root: Path) -> None:
    """`execute` stands on the card, not in the weights, and changes every episode."""
    before = load(root).fingerprints
    edit_card(root, "flow", lambda card: card["config"].update(execute=4))
    after = load(root).fingerprints
    assert {role for role in before if before[role] != after[role]} == {"policy config"}


def missing(root: Path) -> None:
    (root / "toy" / "critic.safetensors").unlink()


def truncated(root: Path) -> None:
    path = root / "toy" / "critic.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def other_task(root: Path) -> None:
    edit_card(root, "critic", lambda card: card.update(task="lift"))


def other_action_dimension(root: Path) -> None:
    edit_card(root, "critic", lambda card: card["config"].update(action_dim=4))


def other_normalisation(root: Path) -> None:
    edit_card(root, "critic", lambda card: card["action_std"].__setitem__(0, 9.0))


def other_kind(root: Path) -> None:
    edit_card(root, "critic", lambda card: card.update(kind="policy"))


def other_policy(root: Path) -> None:
    edit_card(root, "posterior_flow", lambda card: card.update(policy_sha256="0"))


def other_width(root: Path) -> None:
    edit_card(root, "critic", lambda card: card["config"].update(width=99))


def unknown_config_field(root: Path) -> None:
    edit_card(root, "critic", lambda card: card["config"].update(colour="red"))


def unreadable_card(root: Path) -> None:
    (root / "toy" / "critic.json").write_text("{")


def other_type(name: str, **fields: object) -> Callable[[Path], None]:
    return lambda root: edit_card(root, name, lambda card: card.update(fields))


def no_mapping(root: Path) -> None:
    (root / "toy" / "critic.json").write_text("[]")


def width_as_text(root: Path) -> None:
    edit_card(root, "critic", lambda card: card["config"].update(width="wide"))


def config_of(name: str, **fields: object) -> Callable[[Path], None]:
    return lambda root: edit_card(root, name, lambda card: card["config"].update(fields))


def weights_of(name: str, key: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], None]:
    """Change one tensor, or remove it, and put the new hash on the card, as who means harm would."""

    def damage(root: Path) -> None:
        path = root / "toy" / f"{name}.safetensors"
        tensors = load_file(path)
        changed = change(tensors.pop(key))
        save_file(tensors if changed is None else {**tensors, key: changed}, path)
        edit_card(root, name, lambda card: card.update(weights_sha256=sha256(path)))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing, r"critic\.safetensors is missing; .* holds flow, posterior_flow"),
        (truncated, "truncated or altered"),
        (other_task, "trained for task lift; task toy"),
        (other_action_dimension, r"\(8, 4\); the policy draws \(8, 7\)"),
        (other_normalisation, r"another normalisation .*action_std"),
        (other_kind, "is a policy; a critic is needed"),
        (other_policy, "trained from another flow policy"),
        (other_width, "do not fit the card's config"),
        (unknown_config_field, "bad config .*colour"),
        (unreadable_card, r"critic\.json is not JSON"),
        (no_mapping, r"critic\.json: the content is \[\]; accepted: a mapping"),
        (width_as_text, r'critic\.json: config: width is "wide"; accepted: a whole number of at least 0'),
        (other_type("flow", config=3), r"flow\.json: config is 3; accepted: a mapping"),
        (other_type("flow", weights_sha256=[1]), r"flow\.json: weights_sha256 is \[1\]; accepted: text"),
        (other_type("flow", kind=None), r"flow\.json: kind is null; accepted: text"),
        (other_type("critic", action_mean="none"), r'action_mean is "none"; accepted: a list of a number'),
        (
            other_type("critic", action_std=[[1.0], 2.0]),
            r"action_std is \[\[1\.0\], 2\.0\]; accepted: a list of a number",
        ),
        (other_type("posterior_flow", policy_sha256=7), r"policy_sha256 is 7; accepted: text"),
        (config_of("flow", width=200_000), "describes a larger model than the .* values of its weights file"),
        (config_of("flow", depth=1_000_000), "describes a larger model than"),
        (config_of("flow", depth=10**12), r"depth is 1000000000000; accepted: 1 to 1000000"),
        (config_of("flow", width=0), "width is 0; accepted: 1 to"),
        (config_of("flow", execute=9), "execute is 9; accepted: at most the horizon, 8"),
        (config_of("critic", heads=10**12), r"heads is 1000000000000; accepted: 1 to 1000000"),
        (config_of("critic", heads=1_000_000), "describes a larger model than"),
        (config_of("critic", observation_sizes={}), "the weights do not fit the card's config"),
        (weights_of("flow", "action_std", lambda tensor: tensor * 0), r"action_std holds 0; accepted: more than 0"),
        (weights_of("flow", "action_mean", lambda tensor: tensor * torch.nan), "action_mean holds NaN or infinity"),
        (weights_of("flow", "action_mean", lambda tensor: tensor.long()), "action_mean is torch.int64; accepted: "),
        (weights_of("flow", "action_mean", lambda tensor: tensor.to(torch.complex64)), "is torch.complex64; accepted"),
        (weights_of("critic", "scale", lambda tensor: -tensor), r"scale holds -1; accepted: more than 0"),
        (weights_of("flow", "action_mean", lambda tensor: None), "do not fit the card's config"),
    ],
)
def test_damage_is_named(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root)
    with pytest.raises(CheckpointError, match=message):
        load(root)


def test_an_unknown_policy_names_those_there(root: Path) -> None:
    with pytest.raises(CheckpointError, match="holds critic, flow, posterior_flow"):
        load_policy("toy", "diffusion", root)
