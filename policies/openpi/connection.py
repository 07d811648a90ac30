"""One WebSocket connection to a decision server, opened again after it was lost."""

from __future__ import annotations

import ipaddress
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from policies.openpi.handshake import Handshake, read_handshake
from policies.openpi.messages import MessageError, pack, unpack

_OPEN_S = 10.0
_MAX_BYTES = 2**26


@dataclass(frozen=True)
class NoAnswer:
    """Why a request has no answer, in one line."""

    reason: str


class ServerError(ConnectionError):
    """The server cannot be reached, or is not one of openpi's kind."""


class Connection:
    """Sends requests and reads answers in order; `answer_s` is the longest wait for one, in seconds.

    Connects at once. Raises ServerError if no server of openpi's kind answers at `address` within ten seconds, or it
    refuses the token.
    """

    def __init__(self, address: str, token: str | None, answer_s: float) -> None:
        self._address, self._token, self._answer_s = address, token, answer_s
        self._stack = ExitStack()
        weakref.finalize(self, self._stack.close)  # says goodbye when the program ends, too
        self._socket: ClientConnection | None = None
        self.metadata: dict[str, Any] = {}
        self.handshake = Handshake()
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process connects for itself."""
        return Connection, (self._address, self._token, self._answer_s)

    def exchange(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any] | NoAnswer]:
        """The answer to each request, as many at a time as the server's window allows.

        If the connection is lost, the requests under way have no answer. It is opened again, once, for the next ones.
        """
        answers: list[dict[str, Any] | NoAnswer] = []
        try:
            while len(answers) < len(requests):
                answers += self._exchange(self._opened(), requests[len(answers) :][: self.handshake.window])
        except ServerError as error:
            answers += [NoAnswer(str(error))] * (len(requests) - len(answers))
        return answers

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._socket = None
        self._stack.close()

    def _exchange(
        self, socket: ClientConnection, requests: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any] | NoAnswer]:
        answers: list[dict[str, Any] | NoAnswer] = []
        try:
            for message in [pack(request) for request in requests]:
                socket.send(message)
            while len(answers) < len(requests):
                answers.append(_read(socket.recv(timeout=self._answer_s)))
            if self.handshake.window == 1 and isinstance(answers[-1], NoAnswer):
                self.close()  # openpi's server closes the connection after an error
        except (ConnectionClosed, OSError) as error:  # TimeoutError is an OSError
            self.close()
            why = f"no answer in {self._answer_s:g} s" if isinstance(error, TimeoutError) else str(error)
            lost = NoAnswer(f"the connection to {self._address} was lost: {why}")
            answers += [lost] * (len(requests) - len(answers))
        return answers

    def _opened(self) -> ClientConnection:
        """The open connection, or a new one if the server has closed it since."""
        if self._socket is not None and self._socket.protocol.state is State.OPEN:
            return self._socket
        self.close()
        return self._open()

    def _open(self) -> ClientConnection:
        before = self.handshake.fingerprints
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else None
        try:
            # Some servers answer no ping while they compute, so a ping may take as long as an answer.
            socket = connect(
                self._address,
                additional_headers=headers,
                compression=None,
                max_size=_MAX_BYTES,
                open_timeout=_OPEN_S,
                ping_timeout=self._answer_s,
                close_timeout=1,
                proxy=None if _is_this_machine(self._address) else True,  # True: as the environment says
            )
            self._socket = self._stack.enter_context(socket)
            self.metadata = _metadata(socket.recv(timeout=_OPEN_S))
            self.handshake = read_handshake(self.metadata)
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise ServerError(f"{self._address} wants a token, and not the one given here") from None
            raise ServerError(f"{self._address} refused: HTTP status {error.response.status_code}") from None
        except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed, MessageError) as error:
            self.close()
            why = f"no answer in {_OPEN_S:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
            raise ServerError(f"no openpi server at {self._address}: {why}") from None
        if before and self.handshake.fingerprints != before:
            self.close()
            raise ServerError(f"{self._address} serves other models than when the run began")
        return self._socket


def _is_this_machine(address: str) -> bool:
    """Whether the address is of the loopback, where a proxy would look on its own machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _metadata(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, str):
        raise MessageError(f"it greets with the text {message!r:.80}")
    return unpack(message)


def _read(message: str | bytes) -> dict[str, Any] | NoAnswer:
    """An answer; a text is an error, openpi's being a traceback whose last line says what happened."""
    if isinstance(message, str):
        lines = message.strip().splitlines() or ["nothing"]
        return NoAnswer(f"the server answered: {lines[-1]:.300}")
    try:
        return unpack(message)
    except MessageError as error:
        return NoAnswer(f"the server's answer is {error}")
