"""Takes what a policy computes once per chunk from its own sampling, without a change to the library."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class _Intercepted(BaseException):
    """Ends the library's sampling at its first denoising step. No `except Exception` on the way may swallow it."""


def intercept(module: nn.Module, method: str, sample: Callable[[], Any]) -> dict[str, Any]:
    """The arguments, by name, of the first call of `module.method` by `sample()`; the call itself is not made."""
    arguments: dict[str, Any] = {}
    signature = inspect.signature(getattr(module, method))

    def record(*unnamed: Any, **named: Any) -> Any:
        arguments.update(signature.bind(*unnamed, **named).arguments)
        raise _Intercepted

    setattr(module, method, record)  # hides the class's method on this instance alone
    try:
        sample()
    except _Intercepted:
        return arguments
    finally:
        delattr(module, method)
    raise AssertionError(f"the policy samples without {method}")


def pooled(prefix: dict[str, Any]) -> Tensor:
    """Features (B, C) of an encoded prefix: the last layer's values, averaged over its tokens and at the last token.

    In SmolVLA the last token is the robot's state. pi0 keeps the state apart, and it is appended.
    """
    values = _last_values(prefix["past_key_values"]).float()  # (B, tokens, n)
    valid = prefix["prefix_pad_masks"].to(values.dtype)[:, :, None]
    last = (valid[:, :, 0] * torch.arange(1, valid.shape[1] + 1, device=valid.device)).argmax(dim=1)
    parts = [(values * valid).sum(1) / valid.sum(1), values[torch.arange(len(values), device=last.device), last]]
    if isinstance(state := prefix.get("state"), Tensor):
        parts.append(state.float())
    return torch.cat(parts, dim=1)


def _last_values(cache: Any) -> Tensor:
    """(B, tokens, heads * n), from a cache of transformers or LeRobot 0.4's own."""
    if hasattr(cache, "layers"):
        return cache.layers[-1].values.transpose(1, 2).flatten(2)
    return cache[max(cache)]["value_states"].flatten(2)
