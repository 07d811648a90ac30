"""Tensors in nested dicts, lists and key/value caches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def map_rows(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of nested dicts, lists and key/value caches with every tensor changed.

    The copy does not share containers with the original: a library that appends to its cache leaves the original as
    it was. Tensors that `change` returns as they are are shared, not copied.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        items = {key: map_rows(item, change) for key, item in value.items()}
        return items if type(value) is dict else type(value)(**items)  # a result of transformers
    if isinstance(value, list | tuple):
        return type(value)(map_rows(item, change) for item in value)
    if hasattr(value, "layers"):  # a cache of transformers
        cache = copy.copy(value)
        cache.layers = [copy.copy(layer) for layer in value.layers]
        for layer in cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)
        return cache
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of nested dicts, lists and key/value caches, in the order of `map_rows`."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_rows(value, keep)
    return found


def emptied(value: Any) -> Any:
    """The same nesting with tensors that hold nothing."""
    return map_rows(value, lambda tensor: torch.empty(0, device="meta"))


def filled(empty: Any, tensors: Sequence[Tensor]) -> Any:
    """The nesting with these tensors, in the order of `tensors_in`."""
    following = iter(tensors)
    return map_rows(empty, lambda tensor: next(following))
