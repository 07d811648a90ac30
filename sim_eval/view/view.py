"""Show the page until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket

import uvicorn

from sim_eval.errors import RunError
from sim_eval.view.server import application
from sim_eval.view.settings import ViewSettings

HOST = "127.0.0.1"


def view(settings: ViewSettings) -> None:
    """Listen, print the address, and answer until SIGINT or SIGTERM. Raises RunError if the port is taken."""
    try:
        listener = socket.create_server((HOST, settings.port))
    except OSError as error:
        raise RunError(f"port is {settings.port}: {error.strerror}; accepted: a free one, or 0 for any") from None
    with listener, contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        print(f"http://{HOST}:{listener.getsockname()[1]} shows {settings.root}; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(application(settings.root, settings.videos), log_level="warning"))
        server.run(sockets=[listener])
