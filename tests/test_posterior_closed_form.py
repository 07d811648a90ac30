"""The learned one-step posterior net, trained here in seconds from a closed-form policy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from policies.policy import Posterior
from policies.posterior_flow import PosteriorFlow, merge_views, posterior_flow
from policies.posterior_net import PosteriorConfig, PosteriorNet, distillation_loss, draw_targets
from policies.schedule import CosineVP, LinearPath, Schedule
from sim_eval.models.store import ROOT
from sim_eval.samplers import QPilotsM
from sim_eval.training.fit import fit
from sim_eval.training.posterior import agreement
from tests.mixture import MixtureDenoiser
from tests.test_samplers_closed_form import BETA, distance_to_tilted, mixture

TIMES = (0.2, 0.5, 0.8)


def distilled(denoiser: MixtureDenoiser, count: int, steps: int, gradient_weight: float = 1.0) -> PosteriorNet:
    """A small net that has learned from `count` draws of the policy, in `steps` optimiser steps."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    chunks = denoiser.draws(count, generator)[:, None]
    targets = draw_targets(denoiser, torch.zeros(len(chunks), 1), chunks, 10, generator)
    config = PosteriorConfig(1, action_dim=2, horizon=1, width=64, depth=3, preconditioned=True)
    net = PosteriorNet(config, denoiser)

    def loss() -> Tensor:
        rows = torch.randint(len(targets.t), (256,), generator=generator)
        return distillation_loss(net, targets[rows], gradient_weight)

    fit(net, loss, steps, learning_rate=2e-3)
    return net


@pytest.fixture(scope="module")
def trained() -> tuple[MixtureDenoiser, PosteriorNet]:
    denoiser = mixture(LinearPath())
    return denoiser, distilled(denoiser, 2_000, steps=600)


@pytest.mark.parametrize("t", TIMES)
def test_its_mean_is_the_denoisers_posterior_mean(trained: tuple[MixtureDenoiser, PosteriorNet], t: float) -> None:
    denoiser, net = trained
    generator = torch.Generator().manual_seed(1)
    a = denoiser.draws(100, generator)[:, None]
    x = t * a + (1 - t) * torch.randn(a.shape, generator=generator)
    z = torch.randn((500, *a.shape), generator=generator)
    clean = denoiser.clean(x, t, torch.zeros(len(x), 1))
    draws = net.draw(z, x, t, clean, torch.zeros(len(x), 1))
    exact = PosteriorFlow(denoiser, 20).draw(z[:100], x, t, clean, torch.zeros(len(x), 1))
    gap = (draws.mean(0) - clean).square().mean().sqrt()
    spread = exact.std(0).square().mean().sqrt()
    assert gap / spread < 0.25
    assert 0.7 < draws.std(0).square().mean().sqrt() / spread < 1.3


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("schedule", [LinearPath(), CosineVP()], ids=["flow", "diffusion"])
def test_ten_steps_of_the_flow_keep_the_spread(schedule: Schedule, t: float) -> None:
    gaussian = MixtureDenoiser(torch.zeros(1, 2), torch.tensor([0.7]), torch.ones(1), schedule=schedule)
    x, z = torch.zeros(4000, 1, 2), torch.randn(4000, 1, 2, generator=torch.Generator().manual_seed(0))
    drawn = posterior_flow(gaussian, z, x, t, torch.zeros(4000, 1), 10)
    exact = (1 / 0.7**2 + (schedule.alpha(t) / schedule.sigma(t)) ** 2) ** -0.5
    assert float(drawn.std()) == pytest.approx(float(exact), rel=0.04)


def test_the_net_is_taught_the_full_spread() -> None:
    """A Gaussian's posterior flow is clean + spread * z: regressed on z, the targets have that slope, not 7/8 of it."""
    gaussian = MixtureDenoiser(torch.zeros(1, 2), torch.tensor([0.7]), torch.ones(1))
    generator = torch.Generator().manual_seed(0)
    chunks = gaussian.draws(4000, generator)[:, None]
    targets = draw_targets(gaussian, torch.zeros(4000, 1), chunks, 16, generator)
    spread = (1 / (1 / 0.7**2 + (targets.t / (1 - targets.t)) ** 2)).sqrt()
    slope = ((targets.sample - targets.clean) / spread * targets.z).mean()
    assert slope == pytest.approx(1.0, abs=0.04)


GAUSSIAN = MixtureDenoiser(torch.zeros(1, 2), torch.tensor([0.7]), torch.ones(1))


def jacobian_error(posterior: Posterior, t: float) -> float:
    """Of draws for the Gaussian policy: X = clean + spread z, so dX/dx is (alpha / sigma^2) spread^2 I; relative."""
    generator = torch.Generator().manual_seed(1)
    a = GAUSSIAN.draws(300, generator)[:, None]
    x = (t * a + (1 - t) * torch.randn(a.shape, generator=generator)).requires_grad_()
    z, w = torch.randn((2, 1, *a.shape), generator=generator)
    context = torch.zeros(len(x), 1)
    draws = posterior.draw(z, x, t, GAUSSIAN.clean(x, t, context), context)
    (gradient,) = torch.autograd.grad((draws * w).sum(), x)
    exact = t / (1 - t) ** 2 / (1 / 0.7**2 + (t / (1 - t)) ** 2) * w[0]
    return float((gradient - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize("t", [0.1, *TIMES])
def test_the_flow_has_the_posteriors_jacobian(t: float) -> None:
    assert jacobian_error(PosteriorFlow(GAUSSIAN, 10), t) < 0.04


def test_a_net_has_the_posteriors_jacobian_if_it_was_trained_on_it() -> None:
    """Few draws determine it only together with their gradients."""
    with_gradient, without = (distilled(GAUSSIAN, 100, 300, weight) for weight in (1.0, 0.0))
    for t in (0.1, 0.2):
        assert jacobian_error(with_gradient, t) < 0.08
        assert jacobian_error(without, t) > 0.16


def agreed(net: PosteriorNet, denoiser: MixtureDenoiser) -> dict[str, dict[str, float]]:
    chunks = denoiser.draws(64, torch.Generator().manual_seed(1))[:, None]
    return agreement(net, denoiser, torch.zeros(64, 1), chunks, torch.Generator().manual_seed(2))


def test_what_a_card_says_of_agreement_is_so(trained: tuple[MixtureDenoiser, PosteriorNet]) -> None:
    denoiser, net = trained

    class Shifted:
        """The net, its mean off by 0.3 everywhere, and its gradient twice as long."""

        def draw(self, *arguments: Any) -> Tensor:
            draws = net.draw(*arguments)
            return 2 * draws - draws.detach() + 0.3

    found, shifted = agreed(net, denoiser), agreed(Shifted(), denoiser)  # type: ignore[arg-type]
    gap = found["mean_gap"]
    assert all(value < 0.25 for value in gap.values())
    assert all(shifted["mean_gap"][t] > gap[t] + 0.2 for t in gap)
    assert all(value < 1.05 for value in found["mean_error"].values())
    assert all(shifted["mean_error"][t] > found["mean_error"][t] + 0.05 for t in gap)
    assert all(0.85 < value < 1.15 for value in found["spread"].values())
    assert all(value > 0.93 for value in found["gradient_cosine"].values())
    assert all(0.75 < value < 1.3 for value in found["gradient_length"].values())
    assert shifted["gradient_cosine"] == pytest.approx(found["gradient_cosine"], abs=1e-5)
    assert shifted["gradient_length"] == pytest.approx(
        {t: 2 * v for t, v in found["gradient_length"].items()}, rel=1e-4
    )


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*/posterior_*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_every_shipped_net_agrees_with_its_policy(path: Path) -> None:
    """Trained on draws alone: in its mean. Trained on gradients too: in these, and its mean is about as true."""
    card = json.loads(path.read_text())
    assert all(0.8 < value < 1.1 for value in card["spread"].values())
    if not card["config"].get("preconditioned"):
        assert set(card["mean_gap"]) == {"0.2", "0.5", "0.8"}
        assert all(0 < value < 0.25 for value in card["mean_gap"].values())
        return
    assert set(card["gradient_cosine"]) == {"0.1", "0.2", "0.5", "0.8"}
    assert all(0.7 < value <= 1 for value in card["gradient_cosine"].values())
    assert all(0.75 < value < 1.25 for value in card["gradient_length"].values())
    assert all(value < 1.03 for t, value in card["mean_error"].items() if t != "0.8")
    assert card["mean_error"]["0.8"] < 1.2  # where little noise is left, nets of few demonstrations lag behind


@pytest.mark.parametrize("steps", [10, 50])
def test_m_with_the_learned_net_is_near_the_tilted_policy(
    trained: tuple[MixtureDenoiser, PosteriorNet], steps: int
) -> None:
    sampler = QPilotsM(1 / BETA, draws=16, steps=steps)
    assert distance_to_tilted(sampler, LinearPath(), n=1000, posterior=trained[1]) <= 0.06


@pytest.mark.parametrize("schedule", [LinearPath(), CosineVP()], ids=["flow", "diffusion"])
def test_two_views_merge_into_the_view_of_their_information(schedule: Schedule) -> None:
    """E[a | x_t, y_s] of a Gaussian policy, by the merged view and by the formula for two measurements."""
    std, t, s = 0.7, 0.3, 0.6
    gaussian = MixtureDenoiser(torch.zeros(1, 2), torch.tensor([std]), torch.ones(1), schedule=schedule)
    x, y = torch.randn(2, 5, 1, 2, generator=torch.Generator().manual_seed(2))
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    precision = 1 / std**2 + (alpha / sigma) ** 2 + (s / (1 - s)) ** 2
    expected = (alpha / sigma**2 * x + s / (1 - s) ** 2 * y) / precision
    x_u, u = merge_views(gaussian, x, t, y, s)
    torch.testing.assert_close(gaussian.clean(x_u, u, torch.zeros(5, 1)), expected)
