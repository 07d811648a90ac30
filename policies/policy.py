"""The interface of a frozen policy, in two tiers: `Policy` draws action chunks, `Denoiser` exposes its denoising."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from policies.observation import ObservationRequest
from policies.schedule import Schedule, move

#: A batch of B observations: arrays (B, ...), or (B, history, ...) where the request's history exceeds 1;
#: "instruction" is a list of B strings.
Observations = Mapping[str, Any]


class UndecidedError(Exception):
    """A policy has no chunk for some rows of a batch, as when its server fails. `reasons`: row to one line, not empty.

    The episodes of these rows end in an error, which is no failure; those of the other rows go on.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(f"row {row}: {reason}" for row, reason in reasons.items()))
        self.reasons = reasons


class FrozenPolicy(ABC):
    """What both tiers share. Subclass `Policy` or `Denoiser` and set the attributes that have no default.

    request: what the policy observes.
    horizon: H, actions per chunk.
    execute: h, actions executed before the next decision, 1 to H.
    action_dim: D.
    observation_sizes: lengths of the vectors that the policy was trained on, checked against the task; any may be
        left out.
    row_block: decisions are made in blocks of exactly this many rows, the last one filled up. torch rounds differently
        for other numbers of rows; in blocks of one size a result on a CPU does not depend on the batch, bit for bit.
        Set 1 if rows are expensive: they are decided as many at once as wait.
    computation: how the numbers are computed, beside the device, such as {"graphs": True}: for a run's provenance.
    repeatable: whether equal generators give equal chunks, which a run tries once. A policy that sets False has told
        its user already that its noise is not paired.
    """

    request: ObservationRequest
    horizon: int
    execute: int
    action_dim: int
    observation_sizes: Mapping[str, int] = MappingProxyType({})
    row_block: ClassVar[int] = 8
    computation: Mapping[str, bool | str] = MappingProxyType({})
    repeatable: bool = True

    @property
    def device(self) -> torch.device:
        """The device of the tensors that the policy takes and returns."""
        return torch.device("cpu")

    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) of the task's actions; a normalised action is (action - mean) / deviation.

        Critics and posterior nets work on normalised chunks. The default, 0 and 1, leaves actions as they are.
        """
        return torch.zeros(self.action_dim, device=self.device), torch.ones(self.action_dim, device=self.device)

    def normalise(self, actions: np.ndarray) -> Tensor:
        """The task's actions (..., D) to normalised actions, float32."""
        mean, deviation = self.normalisation()
        return (torch.as_tensor(actions, dtype=torch.float32, device=self.device) - mean) / deviation

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        """Normalised (B, H, D) to the task's actions, float32, clipped to [-1, 1]."""
        mean, deviation = self.normalisation()
        return (actions * deviation + mean).clamp(-1.0, 1.0).float().cpu().numpy()

    def fingerprint(self) -> str:
        """A digest that differs between policies that act differently. The default covers all weights."""
        return weights_digest(self)


def modules_of(model: object) -> list[nn.Module]:
    """The model itself if it is an nn.Module, else those of its attributes that are."""
    return [model] if isinstance(model, nn.Module) else [m for m in vars(model).values() if isinstance(m, nn.Module)]


def weights_digest(model: object) -> str:
    """Hex SHA-256 of the class name and of the weights of `modules_of(model)`."""
    digest = hashlib.sha256(type(model).__qualname__.encode())
    for module in modules_of(model):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Policy(FrozenPolicy):
    """The lower tier, enough for `unsteered`, `best_of_n` and `vgps`: a black box that draws chunks."""

    @abstractmethod
    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        """Draw `copies` normalised chunks for each of B observations: (B * copies, H, D), a row's copies adjacent.

        A row draws all its randomness from its own generator; its first copy equals the result with copies = 1.
        """


class Denoiser(FrozenPolicy):
    """The upper tier, for every sampler: the posterior mean of the clean action chunk given a noisy one.

    Time runs from 0 (noise) to 1 (clean action). Flow matching: clean = x + (1 - t) * velocity.
    """

    schedule: Schedule

    @abstractmethod
    def encode(self, observation: Observations) -> Any:
        """B observations to a context of B rows, which every denoising step reads. Called once per decision."""

    @abstractmethod
    def repeat(self, context: Any, copies: int) -> Any:
        """A context of B rows to a context of B * copies rows, a row's copies adjacent."""

    @abstractmethod
    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        """E[a given x_t = x]: x (B, H, D) to (B, H, D), differentiable in x. `t` in [0, 1], a number or (B, 1, 1)."""

    def features(self, context: Any) -> Tensor | None:
        """Features (B, C) that a critic or a posterior net may read; None if the policy offers none."""
        return None

    def times(self, steps: int) -> Sequence[float]:
        """The `steps` + 1 times of the denoising loop, rising from 0 to 1."""
        times: list[float] = np.linspace(0.0, 1.0, steps + 1).tolist()
        return times

    def project(self, clean: Tensor) -> Tensor:
        """Clamp clean chunks (B, H, D) as the policy does itself; applied after steering. The default does nothing."""
        return clean

    def step(self, x: Tensor, clean: Tensor, t: float, u: float, context: Any) -> Tensor:
        """The loop's next x, at time u: (B, H, D), from x at t and the steered, projected clean chunk.

        The default is the deterministic step of the schedule. Override it to reproduce another library's rounding or
        noise; with an unsteered `clean`, return what that library does.
        """
        return move(self.schedule, x, clean, t, u)


class Posterior(Protocol):
    """Differentiable draws of the clean action given a noisy one, for variant M of QPILOTS.

    One that draws through the policy itself keeps it as its attribute `denoiser`: its cost is then counted in rows of
    the policy, not of a posterior net.
    """

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        """K samples of a given x_t = x, (K, B, H, D), from x (B, H, D) and standard normal z (K, B, H, D).

        `clean` (B, H, D) is the denoiser's posterior mean at x. A net may build on it; gradients flow through it too.
        """
        ...
