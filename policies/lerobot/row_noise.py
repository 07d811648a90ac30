"""Noise that a library draws during sampling, made a function of the row's initial noise."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_of(row: Tensor) -> torch.Generator:
    """A generator seeded with the values of a row's initial noise (H, D).

    A denoiser gets no generator: the loop has drawn the row's noise from the row's own. What the library draws besides
    then depends neither on the batch nor on the steering.
    """
    values = row.detach().float().cpu().contiguous().numpy().tobytes()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.blake2b(values, digest_size=8).digest(), "little"))
