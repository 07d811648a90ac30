"""Whether a network is asked about the input that it has just answered for."""

from __future__ import annotations

import torch
from torch import Tensor


def same_input(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal.

    Of one memory the host tells that alone: comparing values would make it wait for a GPU at every step of a denoising
    loop.
    """
    alike = first.shape == second.shape and first.stride() == second.stride() and first.dtype == second.dtype
    return (alike and first.data_ptr() == second.data_ptr()) or torch.equal(first, second)
