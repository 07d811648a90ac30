"""What the objectives of critics share: their interface, and the slowly moving target of those that bootstrap."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.backup import OWN, Backup
from critics.ensemble import EnsembleCritic
from critics.replay import Replay

#: Standard deviation of the noise on chunks, in normalised units: it makes the critic smooth where steering moves them.
ACTION_NOISE = 0.05
TARGET_RATE = 0.005
LEARNING_RATE, WEIGHT_DECAY = 5e-4, 1e-2
#: Adam's for a critic that goes on learning, as Ruan et al. 2026 (arXiv 2606.14801) have it.
STEADY_RATE = 3e-4


class Objective(Protocol):
    """A training loss over a replay, with the state that it keeps (target networks, value functions).

    It is built from a critic on any device and a replay on the CPU, and keeps all of it on the critic's device. There
    `loss` and `after_step` do not make the host wait, except that `Outcome` reads an error every 100 updates. `loss`,
    and `after_step` of a `Bootstrapping`, may be captured as a CUDA graph: they read what changes from tensors.
    """

    learning_rate: float
    weight_decay: float

    @property
    def module(self) -> nn.Module:
        """Everything that the optimiser trains."""
        ...

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The loss, a scalar, on the replay's `rows` (B,)."""
        ...

    def after_step(self) -> None:
        """Called once after each optimiser step."""
        ...

    def finish(self) -> dict[str, float | None]:
        """Called once after the last step and the averaging of weights; figures for the critic's card."""
        ...


def noisy(chunks: Tensor, generator: torch.Generator) -> Tensor:
    """Chunks (B, H, D), each entry moved by noise of `ACTION_NOISE`."""
    return chunks + ACTION_NOISE * torch.randn(chunks.shape, generator=generator, device=chunks.device)


def heads_errors(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every head (..., E, B) against one target probability (..., B): (..., E, B)."""
    return F.binary_cross_entropy_with_logits(logits, target.unsqueeze(-2).expand_as(logits), reduction="none")


def update_target(target: nn.Module, trained: nn.Module) -> None:
    """Polyak averaging: move the target's parameters towards the trained ones by the fraction `TARGET_RATE`."""
    torch._foreach_lerp_(list(target.parameters()), [fast.detach() for fast in trained.parameters()], TARGET_RATE)


class Bootstrapping(ABC):
    """What the objectives share that use a slowly moving copy of the critic, `target`.

    With a `StackedCritic` and a `TasksReplay`, values and returns are (tasks, B) for rows (B,), and each task's critic
    learns what it would learn alone from these rows.
    """

    learning_rate, weight_decay, steady_rate = LEARNING_RATE, WEIGHT_DECAY, STEADY_RATE
    DISCOUNT = 0.995
    #: Whether the critics of several tasks share no parameter: then the leading dimension of each is the tasks'.
    tasks_apart = True

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        self.critic, self.replay, self.backup = critic, replay.to(critic.device), backup
        self.discount = self.DISCOUNT if backup.discount is None else backup.discount
        self.target = copy.deepcopy(critic).requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        return self.critic

    @abstractmethod
    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """As of an `Objective`; of several tasks one each, (tasks,)."""

    def see(self, replay: Replay) -> None:
        """Learn from this replay, which is on the CPU, from now on."""
        self.replay = replay.to(self.critic.device)

    def value(self, rows: Tensor) -> Tensor:
        """The target's value (..., B) of the replay's chunks in `rows`."""
        logits = self.target.logits(self.replay.chunks[rows], self.replay.observations[rows])
        return self.backup.join(self.target.returns(logits.sigmoid()))

    def q_loss(self, rows: Tensor, returns: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of every head against the same returns (..., B), as `loss`."""
        chunks = noisy(self.replay.chunks[rows], generator)
        logits = self.critic.logits(chunks, self.replay.observations[rows])
        return self.replay.mean(heads_errors(logits, self.critic.shares(returns)), rows)

    def after_step(self) -> None:
        update_target(self.target, self.critic)

    def finish(self) -> dict[str, float | None]:
        return {}
