"""A critic that goes on learning for many updates: its optimiser, its target and its generator outlive a round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from critics.bootstrapping import Bootstrapping
from critics.replay import Replay
from critics.stacked import clip_each
from sim_eval.training.workspace import random_rows

_LOGGED = 100  # updates between two that the loss is read of


class GoingOn:
    """Trains `objective` by mini-batches of `rows` of its replay.

    updates: so far. losses: of each task, the latest that was read.
    """

    def __init__(self, objective: Bootstrapping, rows: int, seed: int) -> None:
        self.objective, self.updates = objective, 0
        self.losses: list[float] = []
        self._rows, self._generator = rows, torch.Generator(objective.critic.device).manual_seed(seed)
        self._parameters = [p for p in objective.module.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(self._parameters, lr=objective.steady_rate, fused=True)

    def run(self, until: int, save: Callable[[], None], every: int, name: str) -> None:
        """Update until there were `until` updates in all, and call `save` after each multiple of `every`.

        Raises FloatingPointError if a loss that is read is not finite.
        """
        learnable = self.objective.replay.learnable
        with tqdm(total=until, initial=self.updates, desc=name, disable=None, mininterval=1.0) as bar:
            while self.updates < until:
                rows = learnable[random_rows(len(learnable), self._rows, self._generator)]
                loss = self.objective.loss(rows, self._generator)
                self._optimiser.zero_grad(set_to_none=True)
                loss.sum().backward()
                if loss.ndim and self.objective.tasks_apart:
                    clip_each(self._parameters, 1.0)
                else:
                    nn.utils.clip_grad_norm_(self._parameters, 1.0)
                self._optimiser.step()
                self.objective.after_step()
                self.updates += 1
                if self.updates % _LOGGED == 0 or self.updates == 1:  # the card holds a loss of the shortest fit, too
                    self.losses = [each.item() for each in loss.view(-1)]
                    bar.update(self.updates - bar.n)
                    bar.set_postfix(loss=f"{sum(self.losses) / len(self.losses):.4f}")
                    if not all(map(math.isfinite, self.losses)):
                        raise FloatingPointError(f"{name}: the loss is {self.losses} after {self.updates} updates")
                if self.updates % every == 0 and self.updates < until:
                    save()

    def see(self, replay: Replay) -> None:
        """Draw from this replay from now on."""
        self.objective.see(replay)

    def state(self) -> dict[str, Any]:
        """All that further updates depend on, but for the replay."""
        return {
            "module": self.objective.module.state_dict(),
            "target": self.objective.target.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "updates": self.updates,
            "losses": self.losses,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.objective.module.load_state_dict(state["module"])
        self.objective.target.load_state_dict(state["target"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.updates = state["updates"]
        self.losses = state["losses"] if "losses" in state else [state["loss"]]  # as earlier versions wrote it
