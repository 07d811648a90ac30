"""Captures for machines without CUDA. Like a CUDA graph they repeat operations in one memory, not Python code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from policies.lerobot.graphs import Function
from sim_eval.training.replayed import Update

_aten = torch.ops.aten
#: Operations that wait for a GPU, or read numbers of the host's, and so are forbidden during a capture.
WAITS = (
    _aten._local_scalar_dense.default,
    _aten.equal.default,
    _aten.is_nonzero.default,
    _aten.lift_fresh.default,  # of torch.tensor(numbers)
    _aten.masked_select.default,
    _aten.nonzero.default,
)


def waits(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the operation would wait for a GPU."""
    indices = args[1] if func in (_aten.index.Tensor, _aten.index_put_.default) else ()
    return func in WAITS or any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)


class Tape(TorchDispatchMode):
    """Records operations and their memory. Raises RuntimeError for what a capture forbids."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
        found, named = func(*args, **(kwargs or {})), kwargs or {}
        memory = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, named))}
        made = [tensor for tensor in _tensors(found) if tensor.untyped_storage().data_ptr() not in memory]
        if made or func._schema.is_mutable:  # others are views
            self._operations.append((func, args, named, made))
        else:
            self._operations.append((None, args, found, []))  # kept, so that no other tensor gets the memory
        return found

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, named, made in self._operations:
            if func is None:
                continue
            found = _tensors(func(*args, **named))
            for old, new in zip(made, found if made else [], strict=True):
                old.copy_(new)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


class Taped:
    """The `Capture` of a policy's functions; counts what it captures and replays."""

    def __init__(self) -> None:
        self.captures = self.forwards = self.backwards = 0

    def __call__(self, function: Function, inputs: tuple[Tensor, ...]) -> Function:
        self.captures += 1
        function(*inputs)  # as torch.cuda.make_graphed_callables does, three times
        with Tape() as forward:
            outputs = function(*inputs)
        wanted = [given for given in inputs if given.requires_grad]
        incoming = [torch.zeros_like(output) for output in outputs]
        with Tape() as backward:
            found = torch.autograd.grad(outputs, wanted, incoming) if wanted else ()

        class Replay(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
                assert all(a.data_ptr() == b.data_ptr() for a, b in zip(given, inputs, strict=True))
                self.forwards += 1
                forward.replay()
                return tuple(output.detach() for output in outputs)

            @staticmethod
            def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
                self.backwards += 1
                for own, gradient in zip(incoming, gradients, strict=True):
                    own.copy_(gradient)
                backward.replay()
                following = iter(found)
                return tuple(next(following).detach() if given.requires_grad else None for given in inputs)

        return Replay.apply


class TapedUpdates:
    """The `Captures` and the `Capture` of updates; counts them."""

    def __init__(self) -> None:
        self.warmed = self.captures = self.replays = 0

    def __call__(self, generator: torch.Generator) -> TapedUpdates:
        self._generator = generator
        return self

    def warm(self, update: Update) -> Tensor:
        self.warmed += 1
        return update()

    def capture(self, update: Update) -> tuple[Callable[[], object], Tensor]:
        before = self._generator.get_state()
        try:
            with Tape() as tape:
                loss = update()
        except RuntimeError:
            self._generator.set_state(before)  # a CUDA graph's capture draws nothing
            raise
        self.captures += 1
        recorded = True  # the recording has changed what the first replay would

        def replay() -> None:
            nonlocal recorded
            if not recorded:
                tape.replay()
            recorded = False
            self.replays += 1

        return replay, loss
