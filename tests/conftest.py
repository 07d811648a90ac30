"""Settings that all tests share."""

from __future__ import annotations

import gc

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in an evaluation; and tests that run side by side do not fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def collected_once() -> None:
    """robosuite collects garbage whenever an environment closes: keep it from searching the imported modules."""
    gc.collect()
    gc.freeze()
