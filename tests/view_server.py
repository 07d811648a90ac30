"""The page's server in a thread of this process, for tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim_eval.view.server import server_of


@contextmanager
def serving(root: Path, videos: Path | None = None) -> Iterator[str]:
    """The page over `root`; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = server_of(root.resolve(), (videos or root).resolve())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
