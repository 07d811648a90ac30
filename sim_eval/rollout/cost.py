"""Row counters around the models: a sampler's cost is the number of rows it evaluates, not of calls it makes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Denoiser, FrozenPolicy, Observations, Policy, Posterior
from sim_eval.foundation.errors import ModelError
from sim_eval.samplers.pullbacks import (
    Pullback,
    PullbackOnto,
    PullbackToTwo,
    by_autograd,
    clean_by_autograd,
    clean_with_pullback,
    draw_by_autograd,
    draw_with_pullback,
    offers_pullback,
    q_with_pullback,
)
from sim_eval.samplers.sampler import Models


class NonFiniteQError(Exception):
    """The critic returned NaN or infinity for a finite action chunk, first in `row` of `rows`."""

    def __init__(self, row: int, rows: int) -> None:
        super().__init__(row, rows)
        self.row, self.rows = row, rows


def described(value: object) -> str:
    """The value that a user's model returned, in words: its type, and its shape if it has one."""
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + ("" if shape is None else f" {tuple(shape)}")


@dataclass
class Rows:
    """Rows evaluated since the last `clear`."""

    policy: int = 0
    critic: int = 0
    posterior: int = 0

    def clear(self) -> None:
        self.policy = self.critic = self.posterior = 0


class _SamePolicy(FrozenPolicy):
    """Forwards what both tiers share and samplers may read."""

    def __init__(self, inner: Any, rows: Rows) -> None:
        self._inner, self._rows = inner, rows
        self.request, self.horizon, self.execute = inner.request, inner.horizon, inner.execute
        self.action_dim = inner.action_dim

    @property
    def device(self) -> torch.device:
        return self._inner.device

    def normalisation(self) -> tuple[Tensor, Tensor]:
        return self._inner.normalisation()


class CountedPolicy(_SamePolicy, Policy):
    """A policy of the lower tier that counts the chunks it draws."""

    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        self._rows.policy += len(generators) * copies
        return _ordinary(self._inner.sample(observation, generators, copies))


class CountedDenoiser(_SamePolicy, Denoiser):
    """A denoiser that counts the rows passed to `clean`, and encodes each batch of observations once."""

    def __init__(self, inner: Denoiser, rows: Rows) -> None:
        super().__init__(inner, rows)
        self.schedule = inner.schedule
        self._encoded: tuple[Observations, Any] | None = None

    def encode(self, observation: Observations) -> Any:
        if self._encoded is None or self._encoded[0] is not observation:
            self._encoded = observation, self._inner.encode(observation)
        return self._encoded[1]

    def repeat(self, context: Any, copies: int) -> Any:
        return self._inner.repeat(context, copies)

    def features(self, context: Any) -> Tensor | None:
        return self._inner.features(context)

    def times(self, steps: int) -> Sequence[float]:
        return self._inner.times(steps)

    def project(self, clean: Tensor) -> Tensor:
        return self._inner.project(clean)

    def step(self, x: Tensor, clean: Tensor, t: float, u: float, context: Any) -> Tensor:
        return self._inner.step(x, clean, t, u, context)

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        self._rows.policy += x.shape[0]
        clean = _like(x, self._inner.clean(x, t, context))
        return _ordinary(_differentiable("the policy's `clean`", x, clean))

    def clean_with_pullback(self, x: Tensor, t: float, context: Any) -> tuple[Tensor, PullbackOnto]:
        if not offers_pullback(self._inner, "clean"):
            return clean_by_autograd(self, x, t, context)
        self._rows.policy += x.shape[0]
        return clean_with_pullback(self._inner, x, t, context)


class CountedCritic(Critic):
    """A critic that counts the rows passed to `q`, reads the latest control step, and raises NonFiniteQError."""

    def __init__(self, inner: Critic, rows: Rows, history: int) -> None:
        self._inner, self._rows, self._history = inner, rows, history
        self.observations, self.uses_features = inner.observations, inner.uses_features

    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        if self._history > 1:
            observation = {name: observation[name][:, -1] for name in self.observations}
        return self._inner.encode(observation, features)

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return _differentiable("the critic's `q`", actions, self._counted(actions, self._inner.q(actions, encoded)))

    def q_with_pullback(self, actions: Tensor, encoded: Tensor) -> tuple[Tensor, Pullback]:
        if not offers_pullback(self._inner, "q"):
            return by_autograd(lambda actions: self.q(actions, encoded), actions)
        q, pullback = q_with_pullback(self._inner, actions, encoded)
        return self._counted(actions, q), pullback

    def _counted(self, actions: Tensor, q: Tensor) -> Tensor:
        self._rows.critic += actions.shape[0]
        if not isinstance(q, Tensor) or q.shape != actions.shape[:1]:
            raise ModelError(f"the critic returned {described(q)} as Q; accepted: a tensor ({actions.shape[0]},)")
        bad = ~torch.isfinite(q.detach().float())  # the mean of larger numbers would be infinite
        if bad.any() and torch.isfinite(actions.detach()).all():
            raise NonFiniteQError(int(bad.nonzero()[0, 0]), actions.shape[0])
        return q


@dataclass
class CountedPosterior:
    """A posterior net that counts the rows passed to `draw`, K * B per call."""

    inner: Posterior
    rows: Rows

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        self.rows.posterior += z.shape[0] * z.shape[1]
        return _differentiable("the posterior's `draw`", x, self.inner.draw(z, x, t, clean, context))

    def draw_with_pullback(
        self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any
    ) -> tuple[Tensor, PullbackToTwo]:
        if not offers_pullback(self.inner, "draw"):
            return draw_by_autograd(self, z, x, t, clean, context)
        self.rows.posterior += z.shape[0] * z.shape[1]
        return draw_with_pullback(self.inner, z, x, t, clean, context)


def _like(x: Tensor, clean: Tensor) -> Tensor:
    """The clean chunks. Raises ModelError for another shape than that of x, which torch might stretch to it."""
    if not isinstance(clean, Tensor) or clean.shape != x.shape:
        raise ModelError(
            f"the policy's `clean` returned {described(clean)} for x {tuple(x.shape)}; accepted: a tensor of the same "
            "shape"
        )
    return clean


def _ordinary(result: Tensor) -> Tensor:
    """The result, as a tensor that a sampler may differentiate by, also if it was made under inference_mode."""
    return result.clone() if isinstance(result, Tensor) and result.is_inference() else result


def _differentiable(what: str, argument: Tensor, result: Tensor) -> Tensor:
    """The result. Raises ModelError if the sampler differentiates it in the argument, and it does not depend on that.

    Some samplers would end in a traceback then, and `qpilots_m` would steer by a fraction of its gradient.
    """
    asked = torch.is_grad_enabled() and argument.requires_grad
    if asked and isinstance(result, Tensor) and not result.requires_grad:
        raise ModelError(
            f"{what} has no gradient, which this sampler needs: it runs under no_grad or inference_mode, or detaches "
            "its argument; accepted: a function that autograd can differentiate, or a sampler that does without: "
            "unsteered, best_of_n"
        )
    return result


def counted(models: Models, rows: Rows) -> Models:
    """The models, wrapped so that they count their rows in `rows`."""
    policy, critic, posterior = models.policy, models.critic, models.posterior
    watched = CountedDenoiser(policy, rows) if isinstance(policy, Denoiser) else CountedPolicy(policy, rows)
    return Models(
        watched,
        None if critic is None else CountedCritic(critic, rows, policy.request.history),
        None if posterior is None else _counted_posterior(posterior, policy, watched, rows),
        models.actors,
    )


def _counted_posterior(posterior: Posterior, policy: FrozenPolicy, watched: FrozenPolicy, rows: Rows) -> Posterior:
    """A net counts its own rows. A posterior that draws through the policy gets `watched`, which counts them."""
    if getattr(posterior, "denoiser", None) is not policy:
        return CountedPosterior(posterior, rows)
    through = copy.copy(posterior)
    object.__setattr__(through, "denoiser", watched)  # the posterior may be a frozen dataclass
    return through
