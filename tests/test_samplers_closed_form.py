"""Samplers against what they must sample, where that is known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Observations, Posterior
from policies.posterior_flow import PosteriorFlow
from policies.schedule import CosineVP, LinearPath, Schedule, move
from sim_eval.samplers import QGF, VGPS, BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.scale import constant, drift_matched
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


@pytest.mark.parametrize(("std", "m_is_better"), [(0.35, True), (0.1, False)])
def test_m_with_exact_draws_needs_modes_that_overlap(std: float, m_is_better: bool) -> None:
    """Between modes far apart only few draws carry the gradient, and 16 seldom hold one of them."""
    modes = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    denoiser = MixtureDenoiser(modes, torch.tensor([std, std]), torch.tensor([0.5, 0.5]))
    target = tilted(denoiser).draws(2000, torch.Generator().manual_seed(99))
    models = Models(denoiser, QuadraticCritic(), PosteriorFlow(denoiser, 12))
    u, m = (
        energy_distance(draw(sampler, models, 400), target)
        for sampler in (QPilotsU(1 / BETA), QPilotsM(1 / BETA, draws=16))
    )
    if m_is_better:
        assert m < 0.02 < u < 0.08
    else:
        assert u < 0.05
        assert m > 0.3


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


def test_drift_matching_on_the_linear_path_is_the_papers_update() -> None:
    """v + strength |v| / |g| g, norms over each chunk."""
    generator = torch.Generator().manual_seed(0)
    x, clean, gradient = torch.randn((3, 5, 4, 2), generator=generator)
    t, u, strength = 0.3, 0.4, 0.2
    velocity = (clean - x) / (1 - t)
    norms = [vectors.flatten(1).norm(dim=1)[:, None, None] for vectors in (velocity, gradient)]
    expected = x + (u - t) * (velocity + strength * norms[0] / norms[1] * gradient)
    shift = drift_matched(strength)(LinearPath(), x, clean, gradient, t, u)
    torch.testing.assert_close(move(LinearPath(), x, clean + shift, t, u), expected)


def test_drift_matching_moves_x_as_far_as_told(schedule: Schedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x, clean, gradient = torch.randn((3, 5, 4, 2), generator=generator)
    t, u = 0.3, 0.4
    unsteered = move(schedule, x, clean, t, u)
    steered = move(schedule, x, clean + drift_matched(0.2)(schedule, x, clean, gradient, t, u), t, u)
    ratio = (steered - unsteered).flatten(1).norm(dim=1) / (unsteered - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(ratio, torch.full((5,), 0.2))
    cosine = torch.cosine_similarity((steered - unsteered).flatten(1), gradient.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(5))


def test_a_flat_critic_steers_nowhere_under_drift_matching(schedule: Schedule) -> None:
    models = Models(mixture(schedule), LinearCritic(torch.zeros(2)))
    steered = draw(QPilotsU(0.3, scale="matched"), models, 50)
    torch.testing.assert_close(steered, draw(Unsteered(), models, 50), rtol=0, atol=0)


def test_a_constant_weight_adds_the_gradient_to_the_velocity(schedule: Schedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x, clean, gradient = torch.randn((3, 5, 4, 2), generator=generator)
    shift = constant(schedule, x, clean, gradient, 0.3, 0.4)
    moved = move(schedule, x, clean + shift, 0.3, 0.4) - move(schedule, x, clean, 0.3, 0.4)
    torch.testing.assert_close(moved, (0.4 - 0.3) * gradient)


def test_qgf_raises_q(schedule: Schedule) -> None:
    models, critic = Models(mixture(schedule), QuadraticCritic()), QuadraticCritic()
    q = [
        critic.q(draw(sampler, models, 500)[:, None], torch.zeros(500, 1)).mean()
        for sampler in (QGF(0.0), QGF(0.5), QGF(1.0))
    ]
    assert q[0] < q[1] < q[2]
    torch.testing.assert_close(draw(QGF(0.0), models, 50), draw(Unsteered(), models, 50), rtol=0, atol=0)


def test_vgps_reaches_the_tilted_policy_with_many_draws(schedule: Schedule) -> None:
    distances = [distance_to_tilted(VGPS(1 / BETA, n=n, steps=30), schedule, n=1000) for n in (1, 4, 64)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] <= 0.01


def test_vgps_with_a_great_strength_is_best_of_n(schedule: Schedule) -> None:
    models = Models(mixture(schedule), QuadraticCritic())
    observation = {"state": np.zeros((20, 1), np.float32)}

    def drawn(sampler: Sampler) -> Tensor:
        return sampler(models, observation, [torch.Generator().manual_seed(row) for row in range(20)])

    torch.testing.assert_close(drawn(VGPS(1e9, n=4)), drawn(BestOfN(n=4)), rtol=0, atol=0)


@pytest.mark.parametrize("sampler", [QPilotsU(0.5, clip=True), QPilotsM(0.5, clip=True, draws=4)], ids=["u", "m"])
def test_clipping_asks_within_bounds_and_passes_the_gradient(sampler: QPilotsU | QPilotsM) -> None:
    """Beyond the bounds a linear critic is flat, but its gradient still steers, as without clipping."""

    class Watching(LinearCritic):
        def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
            asked.append(float(actions.detach().abs().max()))
            return super().q(actions, encoded)

    asked: list[float] = []
    denoiser = mixture(LinearPath())
    models = Models(denoiser, Watching(), PosteriorFlow(denoiser, steps=4))
    clipped = draw(sampler, models, 100)
    assert max(asked) <= 1.0 + 1e-6
    free = draw(replace(sampler, clip=False), models, 100)
    assert max(asked) > 1.0
    if isinstance(sampler, QPilotsU):
        torch.testing.assert_close(clipped, free)


@pytest.mark.parametrize("sampler", [QPilotsU(1 / BETA), QPilotsM(1 / BETA, draws=4)], ids=["u", "m"])
def test_a_critic_that_only_grows_along_the_gradient_always_keeps_the_steered_chunk(
    sampler: QPilotsU | QPilotsM,
) -> None:
    """One Gaussian and a linear critic: steering moves every sample by a positive multiple of the slope."""
    gaussian = MixtureDenoiser(torch.tensor([[0.3, -0.2]]), torch.tensor([0.4]), torch.tensor([1.0]))
    models = Models(gaussian, LinearCritic(), PosteriorFlow(gaussian, steps=4))
    kept = draw(replace(sampler, keep_best=True), models, 100)
    torch.testing.assert_close(kept, draw(sampler, models, 100), rtol=0, atol=0)


def test_keeping_the_best_mends_a_strength_that_overshoots(schedule: Schedule) -> None:
    models, critic = Models(mixture(schedule), QuadraticCritic()), QuadraticCritic()
    steered, kept, base = (
        critic.q(draw(sampler, models, 500)[:, None], torch.zeros(500, 1))
        for sampler in (QPilotsU(20.0), QPilotsU(20.0, keep_best=True), Unsteered())
    )
    torch.testing.assert_close(kept, torch.maximum(steered, base), rtol=0, atol=0)
    assert bool((steered < base).any())
    assert kept.mean() > steered.mean()
