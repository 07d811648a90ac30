"""A small Ray, started by a process of its own: Ray forks the one that starts it, and that of the tests has drawn."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection

import ray

from sim_eval.rollout.interpreter import started


@contextlib.contextmanager
def small_ray() -> Iterator[str]:
    """A Ray of two workers; gives its address. It ends with the block, or with this process."""
    pipe, process = started(__name__)
    with pipe:
        yield pipe.recv()
    process.wait()


def serve(handle: int) -> None:
    """Start a Ray, say where, and end it when the other process closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other process ends us
    pipe: Connection = Connection(handle)
    ray.init("local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    pipe.send(ray.get_runtime_context().gcs_address)
    with contextlib.suppress(EOFError, ConnectionResetError):
        pipe.recv()
    ray.shutdown()
