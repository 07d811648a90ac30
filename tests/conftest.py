"""Settings that all tests share."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """No connection to another machine can be opened."""

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise ConnectionRefusedError(f"a test tried to reach {address}")
        connect(self, address)

    connect = socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield
