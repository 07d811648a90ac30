"""Samplers against what they must sample, where that is known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Observations, Posterior
from policies.posterior_flow import PosteriorFlow
from policies.schedule import CosineVP, LinearPath, Schedule
from sim_eval.samplers import Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from tests.mixture import MixtureDenoiser

BETA = 0.5
GOAL = torch.tensor([0.6, 0.4])


def mixture(schedule: Schedule) -> MixtureDenoiser:
    """Three components, of which the critic prefers the rarest."""
    means = torch.tensor([[-1.0, 0.6], [1.0, 0.8], [0.2, -1.1]])
    return MixtureDenoiser(means, torch.tensor([0.25, 0.3, 0.35]), torch.tensor([0.5, 0.2, 0.3]), schedule)


class QuadraticCritic(Critic):
    """Q(a) = -|a - goal|^2 / 2: tilting a Gaussian mixture by exp(Q / beta) gives another one."""

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.from_numpy(observation["state"])

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return -((actions - GOAL) ** 2).sum((-1, -2)) / 2


@dataclass
class LinearCritic(Critic):
    slope: Tensor = field(default_factory=lambda: torch.tensor([0.8, -0.5]))

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.from_numpy(observation["state"])

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return (actions * self.slope).sum((-1, -2))


def tilted(denoiser: MixtureDenoiser) -> MixtureDenoiser:
    """The mixture times exp(Q / beta), normalised."""
    prior, tilt = denoiser.stds**2, BETA
    variance = 1 / (1 / prior + 1 / tilt)
    means = variance[:, None] * (denoiser.means / prior[:, None] + GOAL / tilt)
    log_z = -((denoiser.means - GOAL) ** 2).sum(1) / (2 * (prior + tilt)) - torch.log(prior + tilt)
    weights = (denoiser.weights.log() + log_z).softmax(0)
    return MixtureDenoiser(means=means, stds=variance.sqrt(), weights=weights)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """2 E|A - B| - E|A - A'| - E|B - B'| over samples (n, D), the unbiased estimate; zero iff equal in law."""

    def within(x: Tensor) -> float:
        return float(torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)))

    return float(2 * torch.cdist(a, b).mean()) - within(a) - within(b)


def draw(sampler: Sampler, models: Models, n: int, seed: int = 0) -> Tensor:
    """n chunks as points (n, 2). One generator serves all rows: the law of the samples is what is tested."""
    shared: Sequence[torch.Generator] = [torch.Generator().manual_seed(seed)] * n
    return sampler(models, {"state": np.zeros((n, 1), np.float32)}, shared)[:, 0].detach()


@pytest.fixture(params=[LinearPath(), CosineVP()], ids=["flow", "diffusion"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return request.param


def distance_to_tilted(
    sampler: Sampler, schedule: Schedule, n: int = 4000, posterior: Posterior | None = None
) -> float:
    denoiser = mixture(schedule)
    target = tilted(denoiser).draws(4000, torch.Generator().manual_seed(99))
    models = Models(denoiser, QuadraticCritic(), posterior or PosteriorFlow(denoiser, steps=8))
    return energy_distance(draw(sampler, models, n), target)


def test_unsteered_samples_the_policy(schedule: Schedule) -> None:
    denoiser = mixture(schedule)
    reference = denoiser.draws(4000, torch.Generator().manual_seed(1))
    assert energy_distance(draw(Unsteered(steps=100), Models(denoiser), 4000), reference) < 0.002


def test_m_with_exact_draws_reaches_the_tilted_policy(schedule: Schedule) -> None:
    distances = [distance_to_tilted(QPilotsM(1 / BETA, draws=8, steps=n), schedule, n=1000) for n in (4, 10, 50)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] <= 0.003


def test_u_is_biased_but_beats_the_gradient_at_the_noisy_action(schedule: Schedule) -> None:
    at_mean = distance_to_tilted(QPilotsU(1 / BETA, steps=50), schedule)
    at_noisy = distance_to_tilted(ValueGuided(1 / BETA, steps=50), schedule)
    unsteered = distance_to_tilted(Unsteered(steps=50), schedule)
    assert 0.03 < at_mean < min(at_noisy, unsteered)


def test_u_is_exact_for_a_gaussian_policy_and_a_linear_critic(schedule: Schedule) -> None:
    std = 0.4
    gaussian = MixtureDenoiser(torch.tensor([[0.3, -0.2]]), torch.tensor([std]), torch.tensor([1.0]), schedule=schedule)
    critic = LinearCritic()
    models = Models(gaussian, critic)
    base = draw(Unsteered(steps=400), models, 500)
    steered = draw(QPilotsU(1 / BETA, steps=400), models, 500)
    # mean + Sigma g / beta, the same covariance: every sample moves by the same vector
    shift = steered - base
    torch.testing.assert_close(shift.mean(0), std**2 * critic.slope / BETA, atol=0.01, rtol=0)
    assert float(shift.std(0).max()) < 0.005
