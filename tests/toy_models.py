"""Closed-form models for the point mass, cheap enough to run hundreds of episodes in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from critics.critic import Critic
from policies.observation import ObservationRequest
from policies.policy import Denoiser, Observations, Policy
from policies.schedule import LinearPath, Schedule
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models, required_denoiser


class ToyDenoiser(Denoiser):
    """A Gaussian policy, mean -position, through a random network whose rounding depends on the batch below 4
    rows."""

    def __init__(
        self,
        schedule: Schedule | None = None,
        horizon: int = 4,
        action_dim: int = 2,
        observation_sizes: Mapping[str, int] = {"position": 2},
        request: ObservationRequest | None = None,
    ) -> None:
        self.schedule = schedule or LinearPath()
        self.horizon, self.execute, self.action_dim = horizon, 3, action_dim
        self.observation_sizes = observation_sizes
        self.request = request or ObservationRequest(tuple(observation_sizes))
        self._weight = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))

    def encode(self, observation: Observations) -> Tensor:
        position = torch.from_numpy(observation["position"])
        return position[:, -1] if self.request.history > 1 else position

    def repeat(self, context: Tensor, copies: int) -> Tensor:
        return context.repeat_interleave(copies, 0)

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        mean = -context[:, None, :].expand_as(x)
        wobble = torch.sin(x.flatten(1).repeat(1, 32) @ self._weight)
        return mean + 0.5 * wobble.view_as(x) + 0.5 * (x - mean) * t

    def features(self, context: Tensor) -> Tensor:
        return context


class ToyWithPictures(ToyDenoiser):
    """It sees a picture too, and its features are the picture's mean colour beside the position."""

    def __init__(self, size: int = 16) -> None:
        names = ("position", "agentview_image", "instruction")
        super().__init__(request=ObservationRequest(names, image_size=size, image_orientation="rotated"))

    def encode(self, observation: Observations) -> Tensor:
        colour = torch.from_numpy(observation["agentview_image"]).float().mean((1, 2)) / 255
        return torch.cat([super().encode(observation), colour], dim=1)

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        return super().clean(x, t, context[:, :2])


class ToyPolicy(Policy):
    """The same policy as a black box."""

    def __init__(self) -> None:
        self._inner = ToyDenoiser()
        self.request, self.horizon = self._inner.request, self._inner.horizon
        self.execute, self.action_dim = self._inner.execute, self._inner.action_dim

    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        return draw_unsteered(self._inner, observation, generators, 10, copies)[0]


class ToyWithoutNoise(ToyPolicy):
    """It always draws the mean of the toy policy."""

    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        mean = -self._inner.encode(observation).repeat_interleave(copies, dim=0)
        return mean[:, None, :].expand(-1, self.horizon, -1)


class ToyCritic(Critic):
    """Q = minus the distance to the origin after the chunk's first action; NaN right of `nan_above`.

    It reads the position, or the policy's features, which are the same.
    """

    def __init__(self, nan_above: float = 9.0, uses_features: bool = False) -> None:
        self.nan_above, self.uses_features = nan_above, uses_features
        self.observations = () if uses_features else ("position",)

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.from_numpy(observation["position"]) if features is None else features

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        q = -torch.linalg.norm(encoded + 0.1 * actions[:, 0], dim=1)
        return torch.where(encoded[:, 0] > self.nan_above, torch.nan, q)


@dataclass(frozen=True)
class ToySampler:
    """A few Euler steps, keeping the better of `n` draws by the critic; NaN in episodes that start with noise
    > `bad`."""

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})
    n: int = 1
    bad: float = 9.0

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        policy = required_denoiser(models)
        size = (self.n, policy.horizon, policy.action_dim)
        x = torch.cat([torch.randn(size, generator=generator) for generator in generators])
        x = torch.where(x[:, :1, :1] > self.bad, torch.nan, x)
        context = policy.repeat(policy.encode(observation), self.n)
        for step in range(4):
            x = x + (policy.clean(x, step / 4, context) - x) / (4 - step)
        if self.n == 1:
            return x
        assert models.critic is not None
        encoded = models.critic.encode(observation, None).repeat_interleave(self.n, dim=0)
        q = models.critic.q(x, encoded).view(-1, self.n)
        return x.view(-1, *size)[torch.arange(len(q)), q.argmax(1)]
