"""The one training loop: AdamW, one-cycle learning rate, exponential moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sim_eval.training.replayed import Captures, Replayed, clipped_gradients, cuda_graphs

EMA_DECAY = 0.999


def fit(
    module: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    name: str = "",
    after_step: Callable[[], None] | None = None,
    generator: torch.Generator | None = None,
    captures: Captures = cuda_graphs,
) -> list[float]:
    """Minimise `loss`, which draws a mini-batch per call, and leave the averaged weights in `module`, frozen.

    `steps` >= `names.LEAST_STEPS`. The module may be on any device; the host waits for it only where it reads the loss.
    Returns the loss at every hundredth step. Raises FloatingPointError if one of these is not finite.

    generator: all that `loss` draws from, on the module's device. With it, loss and gradients are captured where
        `captures` has graphs. The optimiser's step is not: its learning rate and its momentum change at every step.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    fused = True if parameters[0].device.type == "cuda" else None  # one kernel instead of many
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=0.1)
    average = [p.detach().clone() for p in parameters]
    history: list[float] = []
    gradients = Replayed(
        lambda: clipped_gradients(loss(), parameters), None if generator is None else captures(generator)
    )
    progress = tqdm(range(steps), desc=name, disable=None, mininterval=1.0)
    for step in progress:
        value = gradients()
        if step % 100 == 0:
            history.append(value.item())
            progress.set_postfix(loss=f"{history[-1]:.4f}")
            if not math.isfinite(history[-1]):
                raise FloatingPointError(f"{name}: the loss is {history[-1]} at step {step}")
        optimiser.step()
        cycle.step()
        update_average(average, parameters, step)
        if after_step is not None:
            after_step()
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    optimiser.zero_grad()  # they may hold a graph's memory
    module.requires_grad_(False).eval()
    return history


def update_average(average: Sequence[Tensor], parameters: Sequence[Tensor], step: int) -> None:
    """Move the moving average towards the parameters after optimiser step number `step`, from 0.

    Its memory is short at first, so that the average never holds the initial weights.
    """
    decay = min(EMA_DECAY, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average), [p.detach() for p in parameters], 1 - decay)
