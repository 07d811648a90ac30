"""A critic that goes on learning for many updates: its optimiser, its target and its generator outlive a round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from critics.bootstrapping import Bootstrapping
from critics.replay import Replay
from sim_eval.training.replayed import Captures, Replayed, clipped_gradients, cuda_graphs
from sim_eval.training.workspace import random_rows

_LOGGED = 100  # updates between two that the loss is read of


class GoingOn:
    """Trains `objective` by mini-batches of `rows` of its replay.

    updates: so far. losses: of each task, the latest that was read.
    """

    def __init__(self, objective: Bootstrapping, rows: int, seed: int, captures: Captures = cuda_graphs) -> None:
        self.objective, self.updates = objective, 0
        self.losses: list[float] = []
        device = objective.critic.device
        self._rows, self._generator = rows, torch.Generator(device).manual_seed(seed)
        self._learnable = objective.replay.learnable
        self._parameters = [p for p in objective.module.parameters() if p.requires_grad]
        self._capturable = device.type == "cuda"
        self._optimiser = torch.optim.Adam(
            self._parameters, lr=objective.steady_rate, fused=True, capturable=self._capturable
        )
        self._update = Replayed(self._updated, captures(self._generator))

    def run(self, until: int, save: Callable[[], None], every: int, name: str) -> None:
        """Update until there were `until` updates in all, and call `save` after each multiple of `every`.

        Raises FloatingPointError if a loss that is read is not finite.
        """
        with tqdm(total=until, initial=self.updates, desc=name, disable=None, mininterval=1.0) as bar:
            while self.updates < until:
                loss = self._update()
                self.updates += 1
                if self.updates % _LOGGED == 0 or self.updates == 1:  # the card holds a loss of the shortest fit, too
                    self.losses = [each.item() for each in loss.view(-1)]
                    bar.update(self.updates - bar.n)
                    bar.set_postfix(loss=f"{sum(self.losses) / len(self.losses):.4f}")
                    if not all(map(math.isfinite, self.losses)):
                        raise FloatingPointError(f"{name}: the loss is {self.losses} after {self.updates} updates")
                if self.updates % every == 0 and self.updates < until:
                    save()

    def _updated(self) -> Tensor:
        rows = self._learnable[random_rows(len(self._learnable), self._rows, self._generator)]
        loss = self.objective.loss(rows, self._generator)
        loss = clipped_gradients(loss, self._parameters, apart=self.objective.tasks_apart)
        self._optimiser.step()
        self.objective.after_step()
        return loss

    def see(self, replay: Replay) -> None:
        """Draw from this replay from now on."""
        self.objective.see(replay)
        self._learnable = self.objective.replay.learnable
        self._update.renew()

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
        for group in self._optimiser.param_groups:
            group["capturable"] = self._capturable  # not as on the device that the state is from
        self._update.renew()
        self._generator.set_state(state["generator"])
        self.updates = state["updates"]
        self.losses = state["losses"] if "losses" in state else [state["loss"]]  # as earlier versions wrote it
