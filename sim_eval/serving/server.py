"""The WebSocket server: who may connect, what is refused, and when a slow or silent client is dropped."""

from __future__ import annotations

import asyncio
import functools
import hmac
import http
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from websockets.asyncio.server import Request as HttpRequest
from websockets.asyncio.server import Response, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from policies.openpi.messages import pack
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.inference import one_torch_thread
from sim_eval.serving.batcher import Batcher, Decide, Failure, decide
from sim_eval.serving.options import Limits, ServeOptions
from sim_eval.serving.requests import Offer, RefusedError, build_offer, largest, read_request

_log = logging.getLogger("sim_eval.serving")
# The library's own log: of interest where a handler has a defect; what peers do is logged here, in one line.
_library = logging.getLogger("sim_eval.serving.websockets")
_library.setLevel(logging.ERROR)

_HANDSHAKE_S = 10.0


class _Connection(ServerConnection):
    """Logs a connection that ends before its handshake is done: noise, another protocol, a refused request."""

    def connection_lost(self, error: Exception | None) -> None:
        if self.protocol.handshake_exc is not None:
            _log.warning("%s refused: no WebSocket handshake (%s)", _peer(self), self.protocol.handshake_exc)
        super().connection_lost(error)


class DecisionServer:
    """Answers the requests of many clients. `decide` runs in a thread of its own.

    token: what clients must send, as "Authorization: Bearer TOKEN" or, as openpi-client does, "Api-Key TOKEN"; None:
    nothing. seed: of the noise of requests without a seed. one_torch_thread: as rollouts on a CPU use.
    """

    def __init__(
        self,
        offer: Offer,
        decide: Decide,
        limits: Limits,
        token: str | None = None,
        seed: int = 0,
        one_torch_thread: bool = True,
    ) -> None:
        self._offer, self._limits, self._token = offer, limits, token
        self._greeting = pack(offer.handshake.message())
        self._seeds = np.random.default_rng(seed)
        self._batcher = Batcher(decide, limits.batch, limits.wait_ms / 1e3, lambda: self._open, one_torch_thread)
        self._open = 0

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve until the end of the `async with` block; yields the port. Raises RunError if it cannot listen."""
        listener = serve_websocket(
            self._serve,
            host,
            port,
            origins=[None],  # no web page may connect
            compression=None,
            process_request=self._admit,
            open_timeout=_HANDSHAKE_S,
            close_timeout=2,
            max_size=largest(self._offer.handshake),
            max_queue=1,
            logger=_library,
            create_connection=_Connection,
        )
        async with self._batcher.running():
            try:
                server = await listener
            except OSError as error:
                raise RunError(f"host={host} port={port}: cannot listen there: {error.strerror or error}") from None
            async with server:
                yield server.sockets[0].getsockname()[1]

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Refuse a handshake without the token, and one too many; answer openpi's question after our health."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._token is not None and not _knows(self._token, request.headers.get_all("Authorization")):
            _log.warning("%s refused: no token, or a wrong one", _peer(connection))
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a token is needed\n")
        if self._open >= self._limits.connections:
            _log.warning("%s refused: %d clients are connected", _peer(connection), self._open)
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        """Read requests and write answers in order, until the client leaves or is dropped."""
        peer = _peer(connection)
        if self._open >= self._limits.connections:  # several were admitted at once
            await connection.close(1013, "too many clients")
            return
        self._open += 1
        _log.info("%s connected", peer)
        answers: asyncio.Queue[asyncio.Task[bytes | str]] = asyncio.Queue(self._limits.window)
        under_way: set[asyncio.Task[bytes | str]] = set()
        both: list[asyncio.Task[str]] = [
            asyncio.create_task(self._read(connection, peer, answers, under_way)),
            asyncio.create_task(self._write(connection, answers)),
        ]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                _log.info("%s %s", peer, task.result())
        finally:
            self._open -= 1
            for pending in (*both, *under_way):
                pending.cancel()

    async def _read(
        self,
        connection: ServerConnection,
        peer: str,
        answers: asyncio.Queue[asyncio.Task[bytes | str]],
        under_way: set[asyncio.Task[bytes | str]],
    ) -> str:
        """Start on each request as it arrives. Returns why there are no more."""
        try:
            while True:
                async with asyncio.timeout(self._limits.idle_s):
                    message = await connection.recv()
                task = asyncio.create_task(self._answer(message, peer))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await answers.put(task)
        except TimeoutError:
            await connection.close(1008, "idle")
            return f"dropped: no request in {self._limits.idle_s:g} s"
        except ConnectionClosed as closed:
            return _farewell(closed)

    async def _write(self, connection: ServerConnection, answers: asyncio.Queue[asyncio.Task[bytes | str]]) -> str:
        """Greet, then send the answers in order. Returns why it has stopped."""
        try:
            answer: bytes | str = self._greeting
            while True:
                async with asyncio.timeout(self._limits.send_s):
                    await connection.send(answer)
                answer = await (await answers.get())
        except TimeoutError:
            connection.transport.abort()
            return f"dropped: it took no answer in {self._limits.send_s:g} s"
        except ConnectionClosed as closed:
            return _farewell(closed)

    async def _answer(self, message: str | bytes, peer: str) -> bytes | str:
        """The answer's bytes; a text is an error, as in openpi's protocol."""
        try:
            request = read_request(message, self._offer, int(self._seeds.integers(2**63)), f"client={peer}")
        except RefusedError as error:
            _log.warning("%s refused: %s", peer, error)
            return f"refused: {error}"
        answer = await self._batcher.decide(request)
        if isinstance(answer, Failure):
            _log.error("%s failed: %s", peer, answer.reason)
            return f"failed: {answer.reason}"
        return pack(answer)


def _knows(token: str, headers: list[str]) -> bool:
    """Whether the one Authorization header holds the token, in a time that does not tell how much of it is right."""
    scheme, _, given = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return scheme.lower() in ("bearer", "api-key") and hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.encode()
    )


def _peer(connection: ServerConnection) -> str:
    address: Any = connection.remote_address
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "a client"


def _farewell(closed: ConnectionClosed) -> str:
    return "left" if isinstance(closed, ConnectionClosedOK) else f"lost: {closed}"


def serve(options: ServeOptions) -> None:
    """Build the models, print the address, and answer until SIGINT or SIGTERM. Raises RunError before it listens."""
    asyncio.run(_run(options, build_offer(options)))


async def _run(options: ServeOptions, offer: Offer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = DecisionServer(
        offer,
        functools.partial(decide, offer.models),
        options.limits,
        options.token,
        options.seed,
        one_torch_thread=one_torch_thread(offer.models.policy),
    )
    async with server.listening(options.host, options.port) as port:
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"ws://{host}:{port} serves {options.policy.label} with {', '.join(offer.samplers)}", flush=True)
        await stop.wait()
    print("closed")
