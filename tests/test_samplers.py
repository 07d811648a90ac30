"""What every sampler promises, on small real models of both families."""

from __future__ import annotations

import copy
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.actor import ChunkActor
from critics.critic import Critic
from policies.policy import Denoiser, Observations, Policy
from sim_eval.samplers import (
    DSRL,
    QGF,
    VGPS,
    BestOfN,
    Edit,
    Models,
    QPilotsM,
    QPilotsU,
    Sampler,
    Unsteered,
    ValueGuided,
    qpilots_u,
)
from sim_eval.samplers.denoise import denoise
from sim_eval.samplers.sampler import ACTORS, required_denoiser
from tests.small_models import beside_others, random_observation, row_generators, small_actors, small_models
from tests.toy_models import ToyCritic, ToyDenoiser, ToyPolicy

#: These raise Q even with models that were never trained.
RAISING: list[Sampler] = [
    BestOfN(n=4),
    VGPS(strength=10.0, n=4),
    QGF(strength=0.3),
    QPilotsU(strength=0.3),
    QPilotsU(strength=0.3, jacobian=False),
    QPilotsM(strength=0.3, draws=4),
    QPilotsU(strength=0.3, keep_best=True),
    QPilotsM(strength=0.3, draws=4, keep_best=True),
    Edit(),
]
#: `value_guided` takes its gradient off the critic's distribution, and `dsrl` asks its actor alone.
STEERED: list[Sampler] = [*RAISING, ValueGuided(strength=0.3), DSRL()]
ALL: list[Sampler] = [Unsteered(), *STEERED]
NULL: list[Sampler] = [
    BestOfN(n=1),
    VGPS(strength=10.0, n=1),
    QGF(strength=0.0),
    ValueGuided(strength=0.0),
    QPilotsU(strength=0.0),
    QPilotsU(strength=0.0, jacobian=False),
    QPilotsM(strength=0.0),
    QPilotsU(strength=0.0, keep_best=True),
    QPilotsM(strength=0.0, keep_best=True),
]


@pytest.fixture(params=["flow", "diffusion"])
def models(request: pytest.FixtureRequest) -> Models:
    return small_models(request.param)


def draw(sampler: Sampler, models: Models, rows: int = 8) -> Tensor:
    return sampler(models, random_observation(rows), row_generators(rows))


@pytest.mark.parametrize("sampler", NULL, ids=repr)
def test_a_null_sampler_is_unsteered_bit_for_bit(sampler: Sampler, models: Models) -> None:
    assert torch.equal(draw(sampler, models), draw(Unsteered(), models))


def test_an_edit_of_zero_is_unsteered_bit_for_bit(models: Models) -> None:
    still = ChunkActor(replace(models.actors["edit_actor"].config, bound=0.0)).requires_grad_(False)
    assert torch.equal(draw(Edit(), replace(models, actors={"edit_actor": still})), draw(Unsteered(), models))


@pytest.mark.parametrize("sampler", STEERED, ids=repr)
def test_a_steered_sampler_differs(sampler: Sampler, models: Models) -> None:
    assert not torch.equal(draw(sampler, models, 64), draw(Unsteered(), models, 64))


@pytest.mark.parametrize("sampler", RAISING, ids=repr)
def test_a_steered_sampler_raises_q(sampler: Sampler, models: Models) -> None:
    steered, base = draw(sampler, models, 64), draw(Unsteered(), models, 64)
    assert models.critic is not None
    features = models.critic.encode(random_observation(64), None)
    assert models.critic.q(steered, features).mean() > models.critic.q(base, features).mean()


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_a_row_depends_on_its_own_observation_and_generator_alone(sampler: Sampler, models: Models) -> None:
    observation = random_observation(8)
    first = sampler(models, observation, row_generators(8))
    beside = sampler(models, beside_others(observation, 5), [*row_generators(5), *row_generators(3, start=40)])
    assert torch.equal(first[:5], beside[:5])


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_frozen_means_frozen(sampler: Sampler, models: Models) -> None:
    modules: list[object] = [required_denoiser(models), models.critic, models.posterior, *models.actors.values()]
    parameters = [p for module in modules if isinstance(module, torch.nn.Module) for p in module.parameters()]
    assert parameters
    before = [p.clone() for p in parameters]
    chunks = draw(sampler, models)
    assert not chunks.requires_grad
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(parameters, before, strict=True))


@pytest.mark.parametrize("jacobian", [True, False])
def test_us_gradient_goes_through_the_posterior_mean(
    models: Models, jacobian: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What U hands to the loop, against central differences in float64: of Q(clean(x)), or of Q at clean(x)."""
    handed: list[Any] = []
    monkeypatch.setattr(qpilots_u, "denoise", lambda *arguments: handed.append(arguments[4]))
    QPilotsU(2.0, jacobian=jacobian)(models, random_observation(1), row_generators(1))
    x = torch.randn(1, 8, 7, generator=torch.Generator().manual_seed(3))
    clean, gradient = handed[0](x, 0.4)
    assert models.critic is not None
    policy: Any = copy.deepcopy(models.policy)
    critic: Any = copy.deepcopy(models.critic)
    policy, critic = policy.double(), critic.double()
    context, features = (
        required_denoiser(models).encode(random_observation(1)),
        models.critic.encode(random_observation(1), None),
    )
    torch.testing.assert_close(clean.double(), policy.clean(x.double(), 0.4, context.double()), atol=1e-5, rtol=1e-5)

    def q(at: Tensor) -> Tensor:
        return critic.q(policy.clean(at, 0.4, context.double()) if jacobian else at, features.double()).sum()

    at = (x if jacobian else clean).double()
    bumps = 1e-5 * torch.eye(56, dtype=torch.float64).view(56, 1, 8, 7)
    expected = torch.stack([(q(at + bump) - q(at - bump)) / 2e-5 for bump in bumps]).view(1, 8, 7)
    torch.testing.assert_close(gradient.double(), 2.0 * expected, atol=1e-4, rtol=1e-3)


def test_the_move_is_eulers_step_of_the_flow() -> None:
    """On the linear path the shared loop equals Euler integration of the network's velocity."""
    policy = required_denoiser(small_models("flow"))
    context = policy.encode(random_observation(8))
    x = torch.randn(8, 8, 7, generator=torch.Generator().manual_seed(0))
    expected = x
    for step in range(10):
        expected = expected + 0.1 * policy.predict(expected, step / 10, context)  # type: ignore[attr-defined]
    torch.testing.assert_close(denoise(policy, x, context, 10), expected.detach(), atol=1e-5, rtol=1e-5)


def test_the_clean_estimate_at_t_near_1_is_x(models: Models) -> None:
    x = torch.randn(8, 8, 7, generator=torch.Generator().manual_seed(0))
    context = required_denoiser(models).encode(random_observation(8))
    torch.testing.assert_close(required_denoiser(models).clean(x, 1 - 1e-6, context), x, atol=1e-4, rtol=1e-4)


def test_best_of_n_keeps_the_best_of_its_candidates(models: Models) -> None:
    assert models.critic is not None
    observation, features = random_observation(8), models.critic.encode(random_observation(8), None)
    best = models.critic.q(BestOfN(n=6)(models, observation, row_generators(8)), features)
    generators = row_generators(8)  # the same draws, one at a time
    single = torch.stack([models.critic.q(Unsteered()(models, observation, generators), features) for _ in range(6)])
    torch.testing.assert_close(best, single.max(0).values)


class Wavy(Critic):
    """Q rises and falls so fast that steering overshoots."""

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.zeros(len(next(iter(observation.values()))), 1)

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return (3 * actions.sum((1, 2))).sin()


@pytest.mark.parametrize("sampler", [QPilotsU(strength=1.0), QPilotsM(strength=1.0, draws=4)], ids=["u", "m"])
def test_the_best_is_kept_of_each_row_and_no_number_drawn_for_it(sampler: QPilotsU | QPilotsM, models: Models) -> None:
    models, observation, encoded = replace(models, critic=Wavy()), random_observation(32), torch.zeros(32, 1)
    generators, again = row_generators(32), row_generators(32)
    steered = sampler(models, observation, generators)
    kept = replace(sampler, keep_best=True)(models, observation, again)
    base = Unsteered()(models, observation, row_generators(32))
    q_kept, q_steered, q_base = (Wavy().q(chunks, encoded) for chunks in (kept, steered, base))
    better = q_steered > q_base
    assert 0 < better.sum() < 32
    assert torch.equal(kept, torch.where(better[:, None, None], steered, base))
    assert (q_kept >= q_base).all()
    assert all(torch.equal(one.get_state(), two.get_state()) for one, two in zip(generators, again, strict=True))


class Undefined(ToyCritic):
    """Its gradient is NaN."""

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return super().q(actions, encoded) * (actions * 0).sum((1, 2)).sqrt()


def test_keeping_the_best_hides_no_nan() -> None:
    observation = {"position": np.ones((8, 2), np.float32)}
    chunks = QPilotsU(strength=1.0, keep_best=True)(Models(ToyDenoiser(), Undefined()), observation, row_generators(8))
    assert chunks.isnan().all()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Unsteered, "steps", 0),
        (BestOfN, "n", 0),
        (BestOfN, "n", 2.5),
        (ValueGuided, "strength", -1.0),
        (QPilotsU, "strength", float("nan")),
        (QPilotsM, "draws", 0),
        (QPilotsU, "keep_best", 1),
        (QPilotsM, "keep_best", None),
        (VGPS, "n", 0),
        (VGPS, "strength", -1.0),
        (QGF, "strength", float("inf")),
        (DSRL, "steps", 0),
        (Edit, "steps", True),
    ],
)
def test_a_bad_field_is_refused_by_name(kind: type, field: str, value: object) -> None:
    good = kind(**{each.name: 1.0 for each in fields(kind) if each.default is MISSING})
    with pytest.raises(ValueError, match=field):
        replace(good, **{field: value})


def test_copies_are_adjacent_and_actions_are_clipped() -> None:
    policy = required_denoiser(small_models("flow"))
    context = policy.encode(random_observation(8))
    assert torch.equal(policy.repeat(context, 3), context.repeat_interleave(3, dim=0))
    assert policy.unnormalise(torch.full((1, 8, 7), 9.0)).max() <= 1.0


def toy(sampler: Sampler, policy: Policy | Denoiser, critic: Critic) -> Tensor:
    """Chunks of the sampler for 8 rows of the point mass."""
    torch.manual_seed(0)
    models = Models(policy, critic, None, small_actors(2, policy.horizon, policy.action_dim))
    observation = {"position": np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)}
    return sampler(models, observation, row_generators(8))


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_the_lower_tier_serves_what_needs_no_denoiser(sampler: Sampler) -> None:
    """A black box draws what the denoiser inside it draws; the other samplers refuse it."""
    if "denoiser" in sampler.needs:
        with pytest.raises(ValueError, match="needs a Denoiser"):
            toy(sampler, ToyPolicy(), ToyCritic())
    else:
        assert torch.equal(*(toy(sampler, policy, ToyCritic()) for policy in (ToyDenoiser(), ToyPolicy())))


@pytest.mark.parametrize("sampler", [each for each in STEERED if "posterior" not in each.needs], ids=repr)
def test_a_critic_may_read_the_policys_features(sampler: Sampler) -> None:
    assert torch.equal(*(toy(sampler, ToyDenoiser(), ToyCritic(uses_features=kind)) for kind in (False, True)))


@pytest.mark.parametrize("sampler", [each for each in ALL if each.needs & {*ACTORS}], ids=repr)
def test_a_missing_actor_is_named(sampler: Sampler, models: Models) -> None:
    (need,) = sampler.needs & {*ACTORS}
    with pytest.raises(ValueError, match=f"needs a {need}; models.actors has none"):
        draw(sampler, replace(models, actors={}))


class Clamped(ToyDenoiser):
    """A denoiser with a clamp and a time grid of its own."""

    def times(self, steps: int) -> list[float]:
        return [0.0, 0.5, 1.0]

    def project(self, clean: Tensor) -> Tensor:
        return clean.clamp(-0.1, 0.1)


def test_the_denoisers_own_clamp_acts_after_steering() -> None:
    observation = {"position": np.ones((8, 2), np.float32)}
    chunks = QPilotsU(strength=50.0)(Models(Clamped(), ToyCritic()), observation, row_generators(8))
    assert chunks.abs().max() <= 0.1 + 1e-6
