"""DSRL's and EXPO's actors: their densities, what they learn on a closed-form policy, and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from critics.actor import ActorConfig, ChunkActor
from critics.ensemble import CriticConfig, EnsembleCritic
from sim_eval.foundation.errors import RunError
from sim_eval.models.checkpoints import load_actor, save_checkpoint
from sim_eval.samplers import DSRL, Edit, Models, Unsteered
from sim_eval.samplers.denoise import denoise
from sim_eval.training.actors import EDIT_BOUND, NOISE_BOUND, ActorLearner, EditActor, NoiseActor
from sim_eval.training.draws import PolicyDraws
from tests.mixture import MixtureDenoiser
from tests.small_models import small_models
from tests.test_samplers_closed_form import GOAL, QuadraticCritic, draw

NARROW = MixtureDenoiser(torch.tensor([[-0.4, 0.1]]), torch.tensor([0.5]), torch.tensor([1.0]))


class Quadratic(EnsembleCritic):
    """-|a - GOAL|^2 / 2 with an encoding of one zero, as a trained critic would be given to an actor."""

    def __init__(self) -> None:
        super().__init__(CriticConfig("sarsa", {"state": 1}, 2, 1, heads=1, width=8, depth=1))

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return QuadraticCritic().q(actions, encoded)


def learned(learner: ActorLearner, steps: int = 250) -> ChunkActor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((4096, 1, 2), generator=generator)
    chunks = denoise(NARROW, noise, NARROW.encode({"state": torch.zeros(4096, 1).numpy()}), 10)
    draws = PolicyDraws(torch.zeros(4096, 1), chunks, noise)
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    for _ in range(steps):
        loss = learner.loss(Quadratic(), draws[torch.randint(4096, (128,), generator=generator)], generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return learner.actor.requires_grad_(False)


def test_the_density_is_that_of_the_draws() -> None:
    """Change of variables: log-density of the draw = log-density of z - log |d draw / d z|, in units of the bound."""
    torch.manual_seed(0)
    actor = ChunkActor(ActorConfig(inputs=3, action_dim=2, horizon=2, bound=1.5)).double()
    condition, z = torch.randn(1, 3).double(), torch.randn(1, 2, 2).double()
    drawn, log_density = actor.draw(condition, z)
    jacobian = torch.autograd.functional.jacobian(lambda at: actor.draw(condition, at)[0] / 1.5, z).view(4, 4)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum() - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(log_density[0], expected, atol=1e-6, rtol=1e-6)
    assert drawn.abs().max() < 1.5


def test_dsrl_learns_the_noise_of_good_chunks() -> None:
    torch.manual_seed(0)
    actor = learned(NoiseActor(1, 1, 2))
    models = Models(NARROW, QuadraticCritic(), None, {"noise_actor": actor})
    steered, base = draw(DSRL(), models, 2000), draw(Unsteered(), models, 2000)
    # The policy is normal, so the noise (GOAL - mean) / deviation = (2, 0.6) gives the goal; the bound allows 1.5.
    assert steered[:, 0].max() <= -0.4 + 0.5 * NOISE_BOUND + 1e-5
    assert steered[:, 0].mean() > base[:, 0].mean() + 0.45
    assert steered[:, 1].mean() > base[:, 1].mean() + 0.15
    critic = QuadraticCritic()
    assert critic.q(steered[:, None], steered).mean() > 0.5 * critic.q(base[:, None], base).mean()


def test_edits_go_towards_the_goal_and_the_worse_of_two_is_dropped() -> None:
    torch.manual_seed(0)
    models = Models(NARROW, QuadraticCritic(), None, {"edit_actor": learned(EditActor(1, 1, 2))})
    edited, base = draw(Edit(), models, 2000), draw(Unsteered(), models, 2000)
    critic = QuadraticCritic()
    assert (critic.q(edited[:, None], edited) >= critic.q(base[:, None], base)).all()
    moved = edited - base
    assert (moved.abs() <= EDIT_BOUND + 1e-5).all()
    far = (GOAL - base)[:, 0] > 2 * EDIT_BOUND  # there the whole edit is worth it
    assert moved[far][:, 0].mean() > 0.7 * EDIT_BOUND


def test_an_actor_is_read_as_it_was_saved(tmp_path: Path) -> None:
    policy = small_models("flow").policy
    actor = ChunkActor(ActorConfig(5, policy.action_dim, policy.horizon, 1.5))
    save_checkpoint(tmp_path, "noise_actor", actor, {"kind": "noise_actor", "task": "lift"})
    read = load_actor(tmp_path, "lift", "noise_actor", policy)
    condition, z = torch.randn(3, 5), torch.randn(3, policy.horizon, policy.action_dim)
    torch.testing.assert_close(read.draw(condition, z)[0], actor.draw(condition, z)[0], atol=1e-2, rtol=1e-2)
    with pytest.raises(RunError, match=r"edit_actor\.safetensors is missing"):
        load_actor(tmp_path, "lift", "edit_actor", policy)
