"""Pullbacks written by hand against autograd: equal bit for bit, used where a model offers them, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from critics.ensemble import CriticConfig, EnsembleCritic
from critics.outcome import OutcomeConfig, OutcomeCritic
from policies.chunk_policy import ChunkPolicy, PolicyConfig
from policies.posterior_net import PosteriorConfig, PosteriorNet
from sim_eval.rollout.cost import Rows, counted
from sim_eval.samplers import QGF, Models, QPilotsM, QPilotsU, Sampler, ValueGuided
from sim_eval.samplers.pullbacks import offers_pullback

SIZES = {"state": 5}
HORIZON, ACTIONS, ROWS, DRAWS = 4, 3, 8, 2


class AutogradPolicy(ChunkPolicy):
    """Overrides `clean`, and so leaves its gradient to autograd."""

    def clean(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        return super().clean(x, t, context)


class AutogradCritic(EnsembleCritic):
    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return super().q(actions, encoded)


class AutogradPosterior(PosteriorNet):
    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        return super().draw(z, x, t, clean, context)


def randomised(module: Any, seed: int = 0) -> Any:
    """The module with random weights in every layer, frozen."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return module.requires_grad_(False).eval()


def a_policy(family: str = "flow", kind: type[ChunkPolicy] = ChunkPolicy) -> ChunkPolicy:
    config = PolicyConfig(family, SIZES, ACTIONS, horizon=HORIZON, execute=2, width=16, depth=2)
    policy: ChunkPolicy = randomised(kind(config))
    return policy


def a_posterior(policy: ChunkPolicy, preconditioned: bool, kind: type[PosteriorNet] = PosteriorNet) -> PosteriorNet:
    config = PosteriorConfig(16, ACTIONS, HORIZON, width=8, depth=2, preconditioned=preconditioned)
    posterior: PosteriorNet = randomised(kind(config, policy))
    return posterior


def a_critic(kind: type[EnsembleCritic] = EnsembleCritic, **options: Any) -> EnsembleCritic:
    config = CriticConfig("sarsa", SIZES, ACTIONS, HORIZON, heads=3, width=16, **{"depth": 2, **options})
    critic: EnsembleCritic = randomised(kind(config))
    critic.scale.fill_(0.7)
    return critic


def an_outcome_critic() -> EnsembleCritic:
    critic: EnsembleCritic = randomised(OutcomeCritic(OutcomeConfig("outcome", SIZES, ACTIONS, HORIZON, execute=2)))
    return critic


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", ["flow", "diffusion"])
def test_the_policys_is_autograds(family: str) -> None:
    policy, x, context = a_policy(family), noise(ROWS, HORIZON, ACTIONS), noise(ROWS, 16)
    direction = noise(ROWS, HORIZON, ACTIONS, seed=2)
    clean, pullback = policy.clean_with_pullback(x, 0.3, context)
    x.requires_grad_()
    expected = policy.clean(x, 0.3, context)
    assert torch.equal(clean, expected)
    assert torch.equal(pullback(direction, 0.0), torch.autograd.grad(expected, x, direction)[0])


@pytest.mark.parametrize("preconditioned", [False, True])
def test_the_posteriors_is_autograds(preconditioned: bool) -> None:
    posterior = a_posterior(a_policy(), preconditioned)
    x, clean = noise(ROWS, HORIZON, ACTIONS), noise(ROWS, HORIZON, ACTIONS, seed=2)
    z, direction = noise(2, DRAWS, ROWS, HORIZON, ACTIONS, seed=3)
    for seed in (4, 5):  # what is kept from one step to the next is not kept for another decision
        context = noise(ROWS, 16, seed=seed)
        draws, pullback = posterior.draw_with_pullback(z, x, 0.3, clean, context)
        points = [x.clone().requires_grad_(), clean.clone().requires_grad_()]
        expected = posterior.draw(z, points[0], 0.3, points[1], context)
        assert torch.equal(draws, expected)
        for found, other in zip(pullback(direction), torch.autograd.grad(expected, points, direction), strict=True):
            assert torch.equal(found, other)


@pytest.mark.parametrize(
    "critic",
    [
        a_critic(),
        a_critic(execute=2),
        a_critic(pessimism=0.5),
        a_critic(execute=2, depth=1, actions_everywhere=True),
        a_critic(execute=2, depth=2, actions_everywhere=True),
        a_critic(execute=2, depth=4, actions_everywhere=True),
        an_outcome_critic(),
    ],
    ids=["plain", "executed", "pessimistic", "everywhere1", "everywhere2", "everywhere4", "outcome"],
)
def test_a_critics_is_autograds(critic: EnsembleCritic) -> None:
    actions, encoded, direction = noise(ROWS, HORIZON, ACTIONS), noise(ROWS, 5, seed=2), noise(ROWS, seed=3)
    q, pullback = critic.q_with_pullback(actions, encoded)
    actions.requires_grad_()
    expected = critic.q(actions, encoded)
    assert torch.equal(q, expected)
    assert torch.equal(pullback(direction), torch.autograd.grad(expected, actions, direction)[0])


def test_every_layer_reads_the_chunk() -> None:
    critic = a_critic(execute=2, depth=3, actions_everywhere=True)
    actions, encoded = noise(ROWS, HORIZON, ACTIONS), noise(ROWS, 5, seed=2)
    layers: Any = critic.network.layers
    before = critic.q(actions, encoded)
    layers[0].weight[:, 5:] = 0
    assert not torch.equal(critic.q(actions, encoded), before)
    for layer in layers[1:]:
        layer.weight[:, 16:] = 0
    assert torch.equal(critic.q(actions, encoded), critic.q(noise(ROWS, HORIZON, ACTIONS, seed=9), encoded))


SAMPLERS = [
    QPilotsU(strength=1.0),
    QPilotsU(strength=0.3, scale="matched", clip=True),
    QPilotsU(strength=1.0, jacobian=False, keep_best=True),
    QPilotsM(strength=1.0, draws=DRAWS),
    QPilotsM(strength=0.3, draws=DRAWS, scale="matched", clip=True),
    ValueGuided(strength=1.0),
    QGF(strength=1.0),
]


def decide(sampler: Sampler, models: Models) -> tuple[Tensor, Rows]:
    """The chunks of a decision, and what they cost."""
    observation = {"state": noise(ROWS, 5).numpy().astype(np.float32)}
    generators = [torch.Generator().manual_seed(row) for row in range(ROWS)]
    rows = Rows()
    return sampler(counted(models, rows), observation, generators), rows


def models_of(policy: ChunkPolicy, kind: type[PosteriorNet], critic: EnsembleCritic) -> Models:
    return Models(policy, critic, a_posterior(policy, True, kind))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_a_sampler_decides_as_by_autograd_and_asks_it_nothing(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_autograd = models_of(a_policy(kind=AutogradPolicy), AutogradPosterior, a_critic(AutogradCritic))
    expected, cost = decide(sampler, by_autograd)
    monkeypatch.delattr(torch.autograd, "grad")
    chunks, rows = decide(sampler, models_of(a_policy(), PosteriorNet, a_critic()))
    exactly = not isinstance(sampler, QPilotsM)  # which adds what autograd gives of each model in another order
    assert torch.equal(chunks, expected) if exactly else torch.allclose(chunks, expected, rtol=1e-5, atol=1e-5)
    assert rows == cost


def test_new_weights_count_at_once() -> None:
    models, sampler = models_of(a_policy(), PosteriorNet, a_critic()), QPilotsM(strength=1.0, draws=DRAWS)
    before, _ = decide(sampler, models)
    for module in (models.policy, models.posterior, models.critic):
        randomised(module, seed=1)
    after, _ = decide(sampler, models)
    again = models_of(a_policy(), PosteriorNet, a_critic())
    for module in (again.policy, again.posterior, again.critic):
        randomised(module, seed=1)
    assert not torch.equal(before, after)
    assert torch.equal(after, decide(sampler, again)[0])


def test_a_subclass_that_overrides_the_function_has_no_pullback() -> None:
    assert offers_pullback(a_policy(), "clean")
    assert not offers_pullback(a_policy(kind=AutogradPolicy), "clean")
    assert offers_pullback(a_critic(), "q")
    assert not offers_pullback(a_critic(AutogradCritic), "q")
