"""Updates of weights that are captured once and then replayed, on CUDA as CUDA graphs.

An update of a small network launches many small kernels, and Python takes longer to launch them than a GPU to compute
them. A CUDA graph launches them together. It always reads and writes the same memory, and repeats no Python.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from critics.stacked import clip_each

_LOG = logging.getLogger(__name__)

#: Changes weights, and returns the loss, detached.
Update = Callable[[], Tensor]

#: Updates before a capture: the first make the optimiser's state, and what libraries make on their first call.
WARM = 3


class Capture(Protocol):
    """What captures updates."""

    def warm(self, update: Update) -> Tensor:
        """Run an update that is to be captured later."""
        ...

    def capture(self, update: Update) -> tuple[Callable[[], object], Tensor]:
        """What replays the update, and the loss that it overwrites; the capture itself changes nothing.

        Raises RuntimeError for an update that cannot be captured.
        """
        ...


#: The capture of updates that draw from a generator; None: they are not captured.
Captures = Callable[[torch.Generator], Capture | None]


def cuda_graphs(generator: torch.Generator) -> Capture | None:
    """CUDA graphs if the generator is on CUDA, else None."""
    return CudaGraphs(generator) if generator.device.type == "cuda" else None


class CudaGraphs:
    """The `Capture` of CUDA. A replay draws from the generator what the update would draw.

    RuntimeError of a capture: the update waits for the GPU or copies from the host, or memory is short.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator, self._aside = generator, torch.cuda.Stream(generator.device)

    def warm(self, update: Update) -> Tensor:
        here = torch.cuda.current_stream(self._generator.device)
        self._aside.wait_stream(here)
        with torch.cuda.stream(self._aside):  # not on the default stream, which a capture must not depend on
            loss = update()
        here.wait_stream(self._aside)
        return loss

    def capture(self, update: Update) -> tuple[Callable[[], object], Tensor]:
        here, graph = torch.cuda.current_stream(self._generator.device), torch.cuda.CUDAGraph()
        drawn_from = [self._generator, torch.cuda.default_generators[here.device_index]]  # a capture takes torch's own
        before = [generator.clone_state() for generator in drawn_from]
        graph.register_generator_state(self._generator)
        try:
            # Other threads may play episodes on the GPU, and wait for it.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss = update()
        except BaseException:
            for generator, state in zip(drawn_from, before, strict=True):
                generator.graphsafe_set_state(state)  # that of a failed capture refuses to draw
            raise
        finally:
            torch.cuda.set_stream(here)  # a failed capture leaves its own
        return graph.replay, loss


class Replayed:
    """An update that is captured after `WARM` calls and then replayed; without a `capture`, called as it is.

    It is also called as it is once a capture has failed, which the log tells. Whatever it reads must stay in its
    memory, see `renew`.
    """

    def __init__(self, update: Update, capture: Capture | None) -> None:
        self._update, self._capture = update, capture
        self._warmed = 0
        self._replay: tuple[Callable[[], object], Tensor] | None = None

    def __call__(self) -> Tensor:
        """Update. The loss that is returned may be overwritten by the next call."""
        if self._capture is None:
            return self._update()
        if self._warmed < WARM:
            self._warmed += 1
            return self._capture.warm(self._update)
        if self._replay is None:
            try:
                self._replay = self._capture.capture(self._update)
            except RuntimeError as error:  # the update itself still works, only slower
                reason = " ".join(str(error).split())
                _LOG.warning("warning: a CUDA graph cannot be captured, training is slower: %.300s", reason)
                self._capture = None
                return self._update()
        replay, loss = self._replay
        replay()
        return loss

    def renew(self) -> None:
        """Capture again before the next replay, since tensors that the update reads are others now."""
        self._warmed, self._replay = 0, None


def clipped_gradients(loss: Tensor, parameters: Sequence[nn.Parameter], apart: bool = True) -> Tensor:
    """Give the parameters new gradients of the loss, of a norm of at most 1, and return the loss, detached.

    Losses of several tasks, (tasks,), with parameters (tasks, ...) are clipped each alone; `apart`: they have these.
    """
    for parameter in parameters:
        parameter.grad = None  # so that a graph keeps gradients in its own memory
    loss.sum().backward()
    if loss.ndim and apart:
        clip_each(parameters, 1.0)
    else:
        nn.utils.clip_grad_norm_(parameters, 1.0)
    return loss.detach()
