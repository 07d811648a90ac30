"""Noise that a library draws during sampling, made a function of the row's initial noise."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_of(row: Tensor) -> torch.Generator:
    """A generator seeded with the values of a row's initial noise (H, D).

    A denoiser gets no generator, and its row's noise is already drawn from the row's own. What it draws in addition then
    depends neither on the batch nor on what steers.
    """
    values = row.detach().float().cpu().contiguous().numpy().tobytes()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.blake2b(values, digest_size=8).digest(), "little"))
