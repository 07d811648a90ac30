"""Connections to the page's server: a bounded number, none of which is held open without a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections at the same time; a browser opens 6. Far below the usual limit of 1,024 open files.
MOST = 64
#: How many the system accepts before the server looks at them.
BACKLOG = 32
#: Seconds within which a request must be whole.
WAIT_S = 10.0


class Connection(H11Protocol):
    """One HTTP connection, closed if no request has come whole for `WAIT_S` seconds and no answer is being sent."""

    transport: Any
    _seen: Any = None
    _check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """As uvicorn's, but one above `MOST` is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        else:
            self._check = self.loop.call_later(WAIT_S, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._check is not None:
            self._check.cancel()

    def _close_if_idle(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.cycle is self._seen:
            self.transport.abort()
            return
        self._seen = self.cycle
        self._check = self.loop.call_later(WAIT_S, self._close_if_idle)
