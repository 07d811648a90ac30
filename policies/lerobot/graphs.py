"""Functions of tensors that are captured once and then replayed, on CUDA as CUDA graphs.

A denoising step of a VLA launches many small kernels, and Python takes longer to launch them than a GPU to compute
them. A CUDA graph launches them together. It always reads and writes the same memory, so inputs are copied into it, and
results out of it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from policies.lerobot.host_constants import HostConstants
from policies.lerobot.nested import emptied, filled, tensors_in

_LOG = logging.getLogger(__name__)

Function = Callable[..., tuple[Tensor, ...]]
#: Maps a function of tensors, and tensors to try it with, to what replays it on these same tensors. A backward pass
#: belongs to the latest forward pass alone, and a result is overwritten by the next.
Capture = Callable[[Function, tuple[Tensor, ...]], Function]

#: Of one function, how many kinds of inputs are captured. Each keeps memory of its own on the GPU.
MOST = 16


def cuda_graph(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    """The `Capture` of CUDA: a graph of the forward pass, and one of the backward pass if an input has a gradient.

    Raises RuntimeError for a function that waits for the GPU or copies from the host, and if memory is short.
    """
    stream = torch.cuda.current_stream()
    try:
        captured: Function = torch.cuda.make_graphed_callables(function, inputs)  # type: ignore[assignment]
    finally:
        torch.cuda.set_stream(stream)  # a failed capture leaves its own
    return captured


class Replayed:
    """`function`, captured on the first call with each kind of inputs: their number, shapes, formats and gradients.

    Arguments and result are tensors, or nested dicts, lists and key/value caches of them; all else in them, and the
    result's structure, must be the same in every call of a kind. Gradients flow to every tensor that requires one. An
    input that is the object of the call before is not copied again, so that a key/value cache is copied once a
    decision.

    Called as the function is: beyond `most` kinds, and for a kind whose capture has failed, which the log tells once.
    """

    def __init__(self, function: Callable[..., Any], capture: Capture, most: int = MOST) -> None:
        self._function, self._capture, self._most = function, capture, most
        self._programs: dict[tuple[Any, ...], _Program | None] = {}

    def __call__(self, *args: Any, **named: Any) -> Any:
        inputs = tuple(tensors_in((args, named)))
        kind = tuple(map(_kind, inputs))
        if kind not in self._programs and len(self._programs) < self._most:
            self._programs[kind] = self._captured((args, named), inputs)
        program = self._programs.get(kind)
        if program is None:
            return self._function(*args, **named)
        return program.result(_Pass.apply(program, *inputs))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is captured, which belongs to this process's GPU."""
        return {**vars(self), "_programs": {}}

    @property
    def captured(self) -> int:
        """How many kinds of inputs are replayed."""
        return sum(program is not None for program in self._programs.values())

    def _captured(self, arguments: Any, inputs: tuple[Tensor, ...]) -> _Program | None:
        try:
            return _Program(self._function, arguments, inputs, self._capture)
        except RuntimeError as error:  # the function itself still works, only slower
            reason = " ".join(str(error).split())
            _LOG.warning("warning: a CUDA graph cannot be captured, its part of the policy is slower: %.300s", reason)
            return None


class Part:
    """A method of a module, and its replayed form."""

    def __init__(self, module: nn.Module, method: str, capture: Capture) -> None:
        self.module, self.method = module, method
        self.replayed = Replayed(getattr(module, method), capture)


@contextmanager
def in_place(parts: Sequence[Part]) -> Iterator[None]:
    """While active, the library calls the replayed forms; no class and no weight is changed."""
    with ExitStack() as stack:
        for part in parts:
            stack.callback(_restore, part.module, part.method, vars(part.module).get(part.method))
            setattr(part.module, part.method, part.replayed)
        yield


def _restore(module: nn.Module, method: str, own: Any) -> None:
    """Undo a `setattr` that hid the class's method, or the instance's `own`."""
    delattr(module, method)
    if own is not None:
        setattr(module, method, own)


class _Program:
    """A captured function with the memory that it reads."""

    def __init__(
        self, function: Callable[..., Any], arguments: Any, inputs: tuple[Tensor, ...], capture: Capture
    ) -> None:
        arguments, constants = emptied(arguments), HostConstants()
        self._constants = constants  # a graph reads their memory
        self._inputs = tuple(t.detach().clone().requires_grad_(_has_gradient(t)) for t in inputs)
        self._differentiable = [t for t in self._inputs if t.requires_grad]
        self._loaded: list[tuple[weakref.ref[Tensor], int] | None] = [None] * len(inputs)
        self._outputs: tuple[Tensor, ...] = ()
        self._result: Any = None
        self.runs = 0

        def flat(*given: Tensor) -> tuple[Tensor, ...]:
            args, named = filled(arguments, given)
            with constants:
                found = function(*args, **named)
            self._result = emptied(found)
            return tuple(tensors_in(found))

        self._replay = capture(flat, self._inputs)

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The function's tensors at these inputs, in memory of their own."""
        self._load(inputs)
        with torch.set_grad_enabled(bool(self._differentiable)):
            self._outputs = self._replay(*self._inputs)
        self.runs += 1
        return tuple(output.detach().clone() for output in self._outputs)

    def pull(self, run: int, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Iterator[Tensor | None]:
        """The gradients in the inputs of run number `run`, which is repeated if it was not the last."""
        if run != self.runs:
            self.run(inputs)
        ends = [number for number, output in enumerate(self._outputs) if output.requires_grad]
        outputs, incoming = ([values[number] for number in ends] for values in (self._outputs, gradients))
        found = iter(torch.autograd.grad(outputs, self._differentiable, incoming, retain_graph=True))
        for own in self._inputs:
            yield next(found).clone() if own.requires_grad else None

    def result(self, outputs: Sequence[Tensor]) -> Any:
        """The function's result with these tensors."""
        return filled(self._result, outputs)

    @torch.no_grad()
    def _load(self, inputs: Sequence[Tensor]) -> None:
        """Copy the inputs that are not there already."""
        new = [
            number
            for number, (given, loaded) in enumerate(zip(inputs, self._loaded, strict=True))
            if loaded is None or loaded[0]() is not given or loaded[1] != given._version
        ]
        if new:
            torch._foreach_copy_([self._inputs[number] for number in new], [inputs[number] for number in new])
        for number in new:
            self._loaded[number] = weakref.ref(inputs[number]), inputs[number]._version


class _Pass(torch.autograd.Function):
    """A run of a program, with its gradient."""

    @staticmethod
    def forward(ctx: Any, program: _Program, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = program.run(inputs)
        ctx.program, ctx.run = program, program.runs
        ctx.save_for_backward(*inputs)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.program.pull(ctx.run, ctx.saved_tensors, gradients)


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.requires_grad and torch.is_grad_enabled()


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, _has_gradient(tensor)
