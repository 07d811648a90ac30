"""The interface of a sampler, and the models that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from critics.actor import ChunkActor
from critics.critic import Critic
from policies.policy import Denoiser, Observations, Policy, Posterior
from sim_eval.samplers.pullbacks import q_with_pullback


@dataclass(frozen=True)
class Models:
    """The frozen policy and the models that steer it; None if no sampler needs them.

    actors: what draws in a sampler's stead, by need: "noise_actor" the initial noise, "edit_actor" a change of a chunk.
    fingerprints: role ("policy", "critic", "posterior", "policy config", ...) to SHA-256.
    """

    policy: Policy | Denoiser
    critic: Critic | None = None
    posterior: Posterior | None = None
    actors: Mapping[str, ChunkActor] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


#: What `Models.actors` may hold.
ACTORS = ("noise_actor", "edit_actor")


class Sampler(Protocol):
    """Draws one action chunk for every row of a batch of observations."""

    needs: ClassVar[frozenset[str]]  # of {"denoiser", "critic", "posterior", *ACTORS}

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        """Observations of B rows, and one generator per row, to normalised chunks (B, H, D).

        A row's chunk depends only on its own observation and generator.
        """
        ...


def required_denoiser(models: Models) -> Denoiser:
    """The policy as a denoiser. Raises ValueError if it is a `Policy`, which only samples."""
    if not isinstance(models.policy, Denoiser):
        raise ValueError(f"this sampler needs a Denoiser; models.policy is a {type(models.policy).__name__}")
    return models.policy


def required_critic(models: Models) -> Critic:
    """The critic. Raises ValueError if there is none."""
    if models.critic is None:
        raise ValueError("this sampler needs a critic; models.critic is None")
    return models.critic


def required_posterior(models: Models) -> Posterior:
    """The posterior net. Raises ValueError if there is none."""
    if models.posterior is None:
        raise ValueError("this sampler needs a posterior net; models.posterior is None")
    return models.posterior


def required_actor(models: Models, need: str) -> ChunkActor:
    """The actor for this need. Raises ValueError if there is none."""
    if need not in models.actors:
        raise ValueError(f"this sampler needs a {need}; models.actors has {', '.join(models.actors) or 'none'}")
    return models.actors[need]


def encode_for_critic(models: Models, observation: Observations, context: Any) -> Tensor:
    """What the critic's `q` reads, (B, m). `context`: the denoiser's, of B rows; None for a `Policy`.

    Raises ValueError if there is no critic, or it reads features and the policy offers none.
    """
    critic, features = required_critic(models), None
    if critic.uses_features:
        features = models.policy.features(context) if isinstance(models.policy, Denoiser) else None
        if features is None:
            raise ValueError(f"the critic reads the policy's features; {type(models.policy).__name__} offers none")
    return critic.encode(observation, features)


def q_gradient(critic: Critic, chunks: Tensor, encoded: Tensor) -> Tensor:
    """The gradient of Q at normalised chunks (B, H, D), which are not differentiated further: (B, H, D)."""
    q, pullback = q_with_pullback(critic, chunks, encoded)
    return pullback(torch.ones_like(q))


def within_bounds(policy: Policy | Denoiser, chunks: Tensor) -> Tensor:
    """Normalised chunks (B, H, D), clipped where the actions leave [-1, 1]; gradients pass straight through."""
    mean, deviation = (vector.to(chunks) for vector in policy.normalisation())
    clipped = chunks.clamp((-1 - mean) / deviation, (1 - mean) / deviation)
    return chunks + (clipped - chunks).detach()


def at_least_one(sampler: object, *names: str) -> None:
    """Raise a ValueError naming the first of the fields `names` that is not a whole number of at least 1."""
    for name in names:
        value = getattr(sampler, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r}: accepted is a whole number of at least 1")


def non_negative(sampler: object, name: str) -> None:
    """Raise a ValueError if the field `name` is not a finite number of at least 0."""
    value = getattr(sampler, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value!r}: accepted is a finite number of at least 0")


def true_or_false(sampler: object, *names: str) -> None:
    """Raise a ValueError naming the first of the fields `names` that is no bool."""
    for name in names:
        if not isinstance(value := getattr(sampler, name), bool):
            raise ValueError(f"{name}={value!r}: accepted is true or false")
