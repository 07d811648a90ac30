"""Independent fits, side by side in processes of their own."""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from sim_eval.foundation.errors import RunError
from sim_eval.rollout import interpreter
from sim_eval.rollout.pool import Closing

Fitted = TypeVar("Fitted")


class FitProcesses(Closing):
    """`count` processes; with fewer than 2 there are none, and fits run in this process, in turn."""

    def __init__(self, count: int) -> None:
        self._processes = [interpreter.started(__name__) for _ in range(count if count > 1 else 0)]

    def start(self, fits: Sequence[Callable[[], Fitted]]) -> Callable[[], list[Fitted]]:
        """Start the fits, which pickle with their results; what is returned waits for the results, in order.

        Without processes it runs them. It raises what a fit raises, and RunError if a process dies. The results have to
        be taken before the next fits start.
        """
        if not self._processes:
            return lambda: [fit() for fit in fits]
        pipes = [self._processes[number % len(self._processes)][0] for number in range(len(fits))]
        for pipe, fit in zip(pipes, fits, strict=True):
            pipe.send_bytes(pickle.dumps(fit))
        return lambda: [_received(pipe) for pipe in pipes]

    def close(self) -> None:
        for pipe, process in self._processes:
            pipe.close()
            process.kill()
            process.wait()


def _received(pipe: Connection) -> Any:
    try:
        result = pickle.loads(pipe.recv_bytes())
    except (EOFError, ConnectionResetError):
        raise RunError("a process that fitted a critic died; accepted: workers=0, which takes less memory") from None
    if isinstance(result, Exception):
        raise result
    return result


def serve(handle: int) -> None:
    """A process's main loop: take a fit, run it, send its result, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    sys.stderr.isatty = lambda: False  # type: ignore[method-assign]  # bars would overwrite the parent's
    torch.set_num_threads(1)  # as the learner's, so that a fit rounds as there
    pipe: Connection = Connection(handle)
    try:
        while True:
            pipe.send_bytes(pickle.dumps(_result(pickle.loads(pipe.recv_bytes()))))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        pass


def _result(fit: Callable[[], Any]) -> Any:
    """What the fit returns, or what it raises, for the parent to raise."""
    try:
        return fit()
    except Exception as error:
        error.add_note(f"in another process:\n{traceback.format_exc()}")
        return error
