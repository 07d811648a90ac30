"""New interpreters as worker processes.

They are started with `-c`. multiprocessing's spawn would import the parent's main module, and with it torch, in every
worker (250 MB and two seconds each); neither GL nor threads survive a fork.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

_CODE = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve({handle})"

#: Workers run in parallel; threads inside each would compete for the same cores.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}


def started(module: str) -> tuple[Connection, subprocess.Popen[bytes]]:
    """A new process that calls the module's `serve` with the handle of its end of a pipe; returns the other end."""
    ours, theirs = socket.socketpair()
    with theirs:
        handle = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE.format(path=sys.path, module=module, handle=handle)],
            pass_fds=(handle,),
            env={**os.environ, **_ONE_THREAD},
            stdin=subprocess.DEVNULL,
        )
    return Connection(ours.detach()), process
