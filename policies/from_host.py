"""Copies from the host to a device that make the host wait for nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: Of what `to_device` has copied: the original on the host.
_originals = WeakTensorKeyDictionary()


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values on the device, from the CPU or from the device itself.

    `Tensor.to` alone waits until the device has done all its earlier work. Without that wait a copy TO a device is
    safe: CUDA has read ordinary memory when the call returns (CUDA Runtime API, "API synchronization behavior").
    """
    moved = values.to(device, non_blocking=True)
    if moved is not values:
        _originals[moved] = values
    return moved


def on_host(tensor: Tensor) -> Tensor:
    """The tensor on the CPU; of what `to_device` returned, and nobody has written to, the original, without a wait."""
    original: Tensor | None = _originals.get(tensor)
    return tensor.cpu() if original is None else original
