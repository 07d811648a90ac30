"""Settings that all tests share."""

from __future__ import annotations

import os

import pytest
import torch

from tasks.libero_assets import VARIABLE
from tests.libero_assets import ASSETS

# Of the processes that tests start, too.
if ASSETS.is_dir():
    os.environ[VARIABLE] = str(ASSETS)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in an evaluation; and tests that run side by side do not fight for the cores."""
    torch.set_num_threads(1)
