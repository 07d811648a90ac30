"""Small tensors that a library makes from Python numbers on every call, such as attention masks, copied once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class HostConstants(TorchFunctionMode):
    """While active, `torch.tensor(numbers, ...)` copies its numbers to the device once and then copies that tensor.

    A copy from the host cannot be part of a CUDA graph. Callers get a copy each, since they may write into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.tensor:
            return func(*args, **(kwargs or {}))
        numbers = repr((args, kwargs))
        if numbers not in self._made:
            self._made[numbers] = func(*args, **(kwargs or {}))
        return self._made[numbers].clone()
