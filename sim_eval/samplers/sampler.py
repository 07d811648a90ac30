"""What a sampler promises, and the models that it draws with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from critics.critic import Critic
from policies.denoiser import Denoiser, Posterior


@dataclass(frozen=True)
class Models:
    """The frozen policy and what steers it; a sampler that needs neither critic nor posterior takes None."""

    denoiser: Denoiser
    critic: Critic | None = None
    posterior: Posterior | None = None


class Sampler(Protocol):
    """Draws one action chunk for every row of a batch of observations."""

    needs: ClassVar[frozenset[str]]  # of {"critic", "posterior"}

    def __call__(
        self, models: Models, observation: Mapping[str, np.ndarray], generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Observations of B rows and one generator a row to normalised chunks (B, H, D).

        A row's chunk depends on its own observation and generator alone.
        """
        ...


def required_critic(models: Models) -> Critic:
    """The critic, or a ValueError where the caller assembled none."""
    if models.critic is None:
        raise ValueError("this sampler needs a critic; models.critic is None")
    return models.critic


def required_posterior(models: Models) -> Posterior:
    """The posterior net, or a ValueError where the caller assembled none."""
    if models.posterior is None:
        raise ValueError("this sampler needs a posterior net; models.posterior is None")
    return models.posterior


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
