"""The learned one-step posterior net, trained here in seconds from a closed-form policy alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from policies.posterior import PosteriorConfig, PosteriorNet, distillation_loss, teach
from policies.posterior_flow import PosteriorFlow, merge_views
from policies.schedule import CosineVP, LinearPath, Schedule
from sim_eval.samplers import QPilotsM
from sim_eval.training.fit import fit
from tests.mixture import MixtureDenoiser
from tests.test_samplers_closed_form import BETA, distance_to_tilted, mixture

TIMES = (0.2, 0.5, 0.8)


class NetOfOneState:
    """The net as a `Posterior` of the mixture, whose context is None."""

    def __init__(self, net: PosteriorNet) -> None:
        self.net = net

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: None) -> Tensor:
        return self.net.draw(z, x, t, clean, torch.zeros(len(x), 1))


@pytest.fixture(scope="module")
def trained() -> tuple[MixtureDenoiser, PosteriorNet]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    denoiser = mixture(LinearPath())
    chunks = denoiser.sample(5_000, generator)[:, None]
    lessons = teach(denoiser, torch.zeros(len(chunks), 1), chunks, 16, generator)
    net = PosteriorNet(PosteriorConfig(1, action_dim=2, horizon=1, width=64, depth=3), denoiser.schedule)

    def loss() -> Tensor:
        rows = torch.randint(len(lessons.t), (256,), generator=generator)
        return distillation_loss(net, lessons[rows])

    fit(net, loss, steps=1500, learning_rate=2e-3)
    return denoiser, net


@pytest.mark.parametrize("t", TIMES)
def test_its_mean_is_the_denoisers_posterior_mean(trained: tuple[MixtureDenoiser, PosteriorNet], t: float) -> None:
    denoiser, net = trained
    generator = torch.Generator().manual_seed(1)
    a = denoiser.sample(100, generator)[:, None]
    x = t * a + (1 - t) * torch.randn(a.shape, generator=generator)
    z = torch.randn((500, *a.shape), generator=generator)
    clean = denoiser.clean(x, t, None)
    draws = NetOfOneState(net).draw(z, x, t, clean, None)
    exact = PosteriorFlow(denoiser, 20).draw(z[:100], x, t, clean, None)
    gap = (draws.mean(0) - clean).square().mean().sqrt()
    spread = exact.std(0).square().mean().sqrt()
    assert gap / spread < 0.25
    assert 0.7 < draws.std(0).square().mean().sqrt() / spread < 1.3


@pytest.mark.parametrize("steps", [10, 50])
def test_m_with_the_learned_net_is_near_the_tilted_policy(
    trained: tuple[MixtureDenoiser, PosteriorNet], steps: int
) -> None:
    sampler = QPilotsM(1 / BETA, draws=16, steps=steps)
    assert distance_to_tilted(sampler, LinearPath(), n=1000, posterior=NetOfOneState(trained[1])) <= 0.06


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
    torch.testing.assert_close(gaussian.clean(x_u, u, None), expected)
