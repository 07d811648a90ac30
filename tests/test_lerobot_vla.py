"""Tiny VLAs of LeRobot, saved and loaded, under this suite's denoising loop; every connection is refused.

SmolVLA with every version of LeRobot; pi0 and pi0.5 from 0.6 on: those of 0.4 need a transformers that is not on PyPI.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny_lerobot
from critics.critic import Critic
from policies.errors import PolicyError
from policies.lerobot import build, library
from policies.lerobot.flow import FlowVLA
from policies.lerobot.precision import encoders
from policies.lerobot.processors import Processors
from policies.policy import Observations
from policies.posterior_flow import PosteriorFlow
from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.denoise import initial_noise
from tests import tiny_pi
from tests.small_models import row_generators
from tests.taped import Taped

pytestmark = pytest.mark.usefixtures("offline")


class NearCritic(Critic):
    """Q = minus the mean squared distance of the chunk from `goal`."""

    observations = ()
    goal = 0.5

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.zeros(len(observation["instruction"]), 1)

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return -(actions - self.goal).square().mean((1, 2))


VLAS = ("smolvla", *(tiny_pi.KINDS if library.version() >= (0, 6) else ()))


@pytest.fixture(scope="module", params=VLAS)
def folder(request: pytest.FixtureRequest, offline: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "smolvla":
        yield tiny_lerobot.smolvla(place)
    else:
        with tiny_pi.small_networks():
            yield tiny_pi.checkpoint(place, request.param)


@pytest.fixture(scope="module")
def vla(folder: Path) -> FlowVLA:
    policy = build(str(folder))
    assert isinstance(policy, FlowVLA)
    return policy


@pytest.fixture(scope="module")
def models(vla: FlowVLA) -> Models:
    return Models(vla, NearCritic(), PosteriorFlow(vla, steps=3))


def librarys_chunk(vla: FlowVLA, observation: dict[str, Any], start: int, steps: int = 10) -> Tensor:
    """`predict_action_chunk` from `row_generators`' noise, with observations on LeRobot's own way from LIBERO."""
    policy: Any = vla.policy
    setattr(policy.config, "num_steps" if hasattr(policy.config, "num_steps") else "num_inference_steps", steps)
    noise = initial_noise(vla, row_generators(len(observation["instruction"]), start))
    batch = vla._processors.observation(tiny_lerobot.libero_batch(observation))
    return policy.predict_action_chunk(batch, noise=vla.library_noise(noise))


@pytest.mark.parametrize("steps", [1, 3, 10, 50])
def test_the_loop_is_the_librarys_bit_for_bit(vla: FlowVLA, steps: int) -> None:
    observation = tiny_lerobot.observations(2)
    chunk = Unsteered(steps)(Models(vla), observation, row_generators(2, 5))
    assert torch.equal(chunk, librarys_chunk(vla, observation, 5, steps))


def test_actions_are_those_of_the_librarys_own_processors(vla: FlowVLA, folder: Path) -> None:
    observation = tiny_lerobot.observations(2)
    chunk = Unsteered()(Models(vla), observation, row_generators(2, 5))
    make = library.module("policies.factory").make_pre_post_processors
    _, post = make(vla.policy.config, str(folder))
    expected = post(librarys_chunk(vla, observation, 5)).numpy().clip(-1, 1)
    actions = vla.unnormalise(chunk)
    assert (actions == expected).all()
    inside = abs(actions) < 1
    assert inside.any()
    assert torch.allclose(vla.normalise(actions)[inside], chunk[inside], atol=1e-5)


@pytest.mark.parametrize(
    "sampler",
    [
        BestOfN(n=1),
        ValueGuided(strength=0.0),
        QPilotsU(strength=0.0),
        QPilotsU(strength=0.0, jacobian=False),
        QPilotsU(strength=0.0, keep_best=True),
        QPilotsM(strength=0.0, draws=2),
    ],
    ids=repr,
)
def test_strength_0_is_the_librarys_action(models: Models, vla: FlowVLA, sampler: Sampler) -> None:
    observation = tiny_lerobot.observations(2)
    chunk = sampler(models, observation, row_generators(2, 7))
    assert torch.equal(chunk, librarys_chunk(vla, observation, 7))


@pytest.mark.parametrize(
    "sampler",
    [
        BestOfN(n=4),
        ValueGuided(strength=5.0),
        QPilotsU(strength=5.0),
        QPilotsU(strength=5.0, jacobian=False),
        QPilotsM(strength=5.0, draws=2),
    ],
    ids=repr,
)
def test_steering_raises_the_value_in_every_row(models: Models, sampler: Sampler) -> None:
    observation = tiny_lerobot.observations(3)
    unsteered = Unsteered()(models, observation, row_generators(3, 1))
    steered = sampler(models, observation, row_generators(3, 1))
    critic = NearCritic()
    encoded = critic.encode(observation, None)
    gains = critic.q(steered, encoded) - critic.q(unsteered, encoded)
    assert (gains >= (-1e-4 if isinstance(sampler, BestOfN) else 0.01)).all()  # of n draws, the first may be the best
    assert gains.mean() > 0.01


def test_the_gradient_through_clean_is_that_of_finite_differences(vla: FlowVLA) -> None:
    context = vla.encode(tiny_lerobot.observations(2))
    x, direction = torch.randn((2, 2, vla.horizon, vla.action_dim), generator=torch.Generator().manual_seed(3))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(vla.clean(x, 0.4, context).square().sum(), x)
    step = 1e-2
    with torch.no_grad():
        up, down = (vla.clean(x + sign * step * direction, 0.4, context).square().sum() for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((up - down) / (2 * step)), rel=2e-3)


def test_a_row_does_not_depend_on_its_batch(models: Models, vla: FlowVLA) -> None:
    observation = tiny_lerobot.observations(3)
    together = QPilotsU(strength=2.0)(models, observation, row_generators(3, 1))
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in observation.items()}
        chunk = QPilotsU(strength=2.0)(models, alone, row_generators(1, 1 + row))
        assert torch.allclose(chunk, together[row : row + 1], atol=1e-4)


def test_a_repeated_context_gives_each_copy_its_row(vla: FlowVLA) -> None:
    context = vla.encode(tiny_lerobot.observations(2))
    x = torch.randn((2, vla.horizon, vla.action_dim), generator=torch.Generator().manual_seed(3))
    once = vla.clean(x, 0.3, context)
    thrice = vla.clean(x.repeat_interleave(3, dim=0), 0.3, vla.repeat(context, 3))
    assert torch.allclose(thrice, once.repeat_interleave(3, dim=0), atol=1e-5)


def test_times_may_differ_between_rows(vla: FlowVLA) -> None:
    context = vla.encode(tiny_lerobot.observations(2))
    x = torch.randn((2, vla.horizon, vla.action_dim), generator=torch.Generator().manual_seed(3))
    both = vla.clean(x, torch.tensor([0.2, 0.7]).view(2, 1, 1), context)
    for row, t in enumerate((0.2, 0.7)):
        assert torch.allclose(both[row], vla.clean(x, t, context)[row], atol=1e-5)


def test_features_tell_observations_apart(vla: FlowVLA) -> None:
    features = vla.features(vla.encode(tiny_lerobot.observations(3)))
    assert features.shape == (3, features.shape[1])
    assert torch.cdist(features, features).add(torch.eye(3)).min() > 1e-3


def test_weights_are_frozen_and_steering_leaves_them_as_they_are(models: Models, vla: FlowVLA) -> None:
    before = vla.fingerprint()
    QPilotsU(strength=1.0)(models, tiny_lerobot.observations(1), row_generators(1))
    assert vla.fingerprint() == before
    assert not any(parameter.requires_grad for parameter in vla.policy.parameters())


def test_bfloat16_is_close_to_float32(folder: Path, vla: FlowVLA) -> None:
    half = build(str(folder), dtype="bfloat16")
    observation = tiny_lerobot.observations(1)
    full_chunk, half_chunk = (Unsteered()(Models(p), observation, row_generators(1, 1)) for p in (vla, half))
    assert half_chunk.dtype == torch.float32
    gap = (half_chunk - full_chunk).abs().max()
    assert 0 < gap < 0.1


def test_a_vision_tower_in_bfloat16_gives_almost_the_same_tokens(folder: Path, vla: FlowVLA) -> None:
    half = build(str(folder), vision="bfloat16")
    assert isinstance(half, FlowVLA)
    config: Any = vla.policy.config
    size = getattr(config, "image_resolution", (64, 64))
    pictures = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0))
    tokens, expected = (encoders(p.policy.model).embed_image(pictures) for p in (half, vla))
    assert tokens.dtype == expected.dtype == torch.float32
    assert 0 < (tokens - expected).abs().max() < 0.1 * expected.abs().max()
    assert (half.computation, vla.computation) == ({"vision": "bfloat16"}, {})
    taped = Taped()
    chunks = [
        Unsteered()(Models(p), tiny_lerobot.observations(1), row_generators(1)) for p in (half, half.replayed_by(taped))
    ]
    assert torch.equal(*chunks)
    assert taped.captures == 3
    assert torch.equal(encoders(half.policy.model).embed_image(pictures), tokens), "a decision leaves it as it was"


def test_tf32_is_for_the_vision_tower_alone(folder: Path, vla: FlowVLA, monkeypatch: pytest.MonkeyPatch) -> None:
    short = build(str(folder), vision="tf32")
    assert isinstance(short, FlowVLA)
    flags: dict[str, bool] = {}
    both = encoders(short.policy.model)
    for name, module in both.named_modules():
        module.register_forward_hook(
            lambda *_, name=name: flags.__setitem__(name, torch.backends.cuda.matmul.allow_tf32)
        )
    observation = tiny_lerobot.observations(1)
    assert torch.equal(*(Unsteered()(Models(p), observation, row_generators(1)) for p in (short, vla)))
    vision = {name for name, flag in flags.items() if flag}
    assert any("vision" in name for name in vision)
    assert not [name for name in vision if "language_model" in name or "text_model" in name or "expert" in name]
    assert not torch.backends.cuda.matmul.allow_tf32


def test_an_unknown_format_of_the_vision_tower_is_refused(folder: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy.vision=int8; accepted: tf32, bfloat16"):
        build(str(folder), vision="int8")
    with pytest.raises(PolicyError, match=r"policy.graphs=no; accepted: true, false"):
        build(str(folder), graphs="no")  # type: ignore[arg-type]


def test_the_time_and_the_robots_state_count(vla: FlowVLA) -> None:
    """In pi0.5 the state is part of the text, and the time reaches the network through its norms."""
    made_up = tiny_lerobot.observations(1)
    observation, moved = ({**made_up, "robot0_eef_pos": np.full((1, 3), at, np.float32)} for at in (0.0, 0.1))
    x = torch.randn((1, vla.horizon, vla.action_dim), generator=torch.Generator().manual_seed(3))
    early, late = (vla._velocity(torch.nn.functional.pad(x, (0, 3)), t, vla.encode(observation)) for t in (0.2, 0.8))
    assert (early - late).abs().max() > 1e-3
    assert (vla.clean(x, 0.2, vla.encode(observation)) - vla.clean(x, 0.2, vla.encode(moved))).abs().max() > 1e-4


@pytest.mark.parametrize("removed", ["weight", "file"])
def test_a_checkpoint_that_is_not_whole_is_refused(folder: Path, tmp_path: Path, removed: str) -> None:
    """LeRobot's pi0 would go on with random weights."""
    shutil.copytree(folder, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    if removed == "weight":
        kept = load_file(weights)
        del kept["model.action_out_proj.bias"]
        save_file(kept, weights)
    else:
        weights.write_bytes(b"not weights")
    with pytest.raises(PolicyError, match=re.escape(f"policy.path={tmp_path / 'copy'}") + ".*weights"):
        build(str(tmp_path / "copy"))


def test_actions_relative_to_the_state_are_refused(vla: FlowVLA, folder: Path) -> None:
    """An option of pi0 and pi0.5 whose post-processor adds the last state."""
    config: Any = copy.deepcopy(vla.policy.config)
    config.use_relative_actions = True
    with pytest.raises(PolicyError, match="relative to the state"):
        Processors(folder, config, torch.device("cpu"), None, vla.action_dim)
