"""A bound on the memory that a model may take while it is built from numbers that a file names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from policies.errors import PolicyError

_CONSTRUCTORS = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange, torch.linspace, torch.eye}
)
#: Values that a model may have beside those that its file stores: tables of positions, buffers, tied weights.
_BESIDE = 2**25
_MOST_TENSORS = 20_000


class Allowance(TorchFunctionMode):
    """While active, tensors of all together more than 3 times `stored` values, and some, cannot be made.

    A card or a config.json says how large a model is, and its weights file how many values there are. Without this, a
    width of 200,000 takes the memory before anything compares the two. Raises PolicyError, before the allocation.
    """

    def __init__(self, where: str, stored: int) -> None:
        super().__init__()
        self._where, self._stored = where, stored
        self._left: float = 3 * stored + _BESIDE
        self._tensors = _MOST_TENSORS

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _CONSTRUCTORS:
            self._left -= _values(func, args, kwargs)
            self._tensors -= 1
            if self._left < 0 or self._tensors < 0:
                raise PolicyError(
                    f"{self._where} describes a larger model than the {self._stored} values of its weights file"
                )
        return func(*args, **kwargs)


def _values(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> float:
    """How many values the tensor will have; infinite for more than torch can count."""
    named = {name: value for name, value in kwargs.items() if name not in ("generator", "pin_memory", "out")}
    try:
        made: torch.Tensor = func(*args, **{**named, "device": "meta"})
    except RuntimeError:  # of a negative size, which the call itself refuses, or a size that overflows
        return float("inf")
    return made.numel()
