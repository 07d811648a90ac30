"""Takes what a policy computes once per chunk from its own sampling, without a change to the library."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class _Captured(BaseException):
    """Ends the library's sampling at its first denoising step. No `except Exception` on the way may swallow it."""


def capture(module: nn.Module, method: str, sample: Callable[[], Any]) -> dict[str, Any]:
    """The arguments, by name, of the first call of `module.method` by `sample()`; the call itself is not made."""
    arguments: dict[str, Any] = {}
    signature = inspect.signature(getattr(module, method))

    def record(*unnamed: Any, **named: Any) -> Any:
        arguments.update(signature.bind(*unnamed, **named).arguments)
        raise _Captured

    setattr(module, method, record)  # hides the class's method on this instance alone
    try:
        sample()
    except _Captured:
        return arguments
    finally:
        delattr(module, method)
    raise AssertionError(f"the policy samples without {method}")


def map_rows(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of nested dicts, lists and key/value caches with every tensor changed.

    The copy does not share containers with the original: a library that appends to its cache leaves the original as
    it was. Tensors that `change` returns as they are are shared, not copied.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: map_rows(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map_rows(item, change) for item in value)
    if hasattr(value, "layers"):  # a cache of transformers
        cache = copy.copy(value)
        cache.layers = [copy.copy(layer) for layer in value.layers]
        for layer in cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)
        return cache
    return value


def pooled(prefix: dict[str, Any]) -> Tensor:
    """Features (B, C) of an encoded prefix: the last layer's values, averaged over its tokens and at the last token.

    In SmolVLA the last token is the robot's state. pi0 keeps the state apart, and it is appended.
    """
    values = _last_values(prefix["past_key_values"]).float()  # (B, tokens, n)
    valid = prefix["prefix_pad_masks"].to(values.dtype)[:, :, None]
    last = (valid[:, :, 0] * torch.arange(1, valid.shape[1] + 1, device=valid.device)).argmax(dim=1)
    parts = [(values * valid).sum(1) / valid.sum(1), values[torch.arange(len(values)), last]]
    if isinstance(state := prefix.get("state"), Tensor):
        parts.append(state.float())
    return torch.cat(parts, dim=1)


def _last_values(cache: Any) -> Tensor:
    """(B, tokens, heads * n), from a cache of transformers or LeRobot 0.4's own."""
    if hasattr(cache, "layers"):
        return cache.layers[-1].values.transpose(1, 2).flatten(2)
    return cache[max(cache)]["value_states"].flatten(2)
