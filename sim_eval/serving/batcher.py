"""Gathers the requests that arrive close together, and has the models decide on them in a thread of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import torch

from sim_eval.serving.decisions import Answer, Failure
from sim_eval.serving.requests import Request

Decide = Callable[[Sequence[Request]], list[Answer | Failure]]

#: Requests of one burst follow each other within this time.
_QUIET_S = 0.0005


class Batcher:
    """At most `batch` requests are decided together; the first of them waits at most `wait_s` for the others.

    `clients`: how many are connected; once each of them waits for an answer, nobody else is waited for. Requests that
    arrive while the models are busy wait for the next batch. Use inside `running`.
    """

    def __init__(
        self, decide: Decide, batch: int, wait_s: float, clients: Callable[[], int], one_torch_thread: bool
    ) -> None:
        self._decide, self._batch, self._wait_s, self._clients = decide, batch, wait_s, clients
        self._waiting: deque[tuple[Request, asyncio.Future[Answer | Failure]]] = deque()
        self._arrived = asyncio.Event()
        initializer = (lambda: torch.set_num_threads(1)) if one_torch_thread else None
        self._thread = ThreadPoolExecutor(1, "models", initializer)

    async def decide(self, request: Request) -> Answer | Failure:
        """The answer. If the caller is cancelled before the models have begun, they leave the request out."""
        answer: asyncio.Future[Answer | Failure] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._arrived.set()
        return await answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decide until the end of the `async with` block; what waits then is never answered."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            if not self._waiting:
                self._arrived.clear()
            batch = [(request, answer) for request, answer in batch if not answer.done()]
            if batch:
                answers = await loop.run_in_executor(self._thread, self._decide, [request for request, _ in batch])
                for (_, waiter), answer in zip(batch, answers, strict=True):
                    if not waiter.done():
                        waiter.set_result(answer)

    async def _gather(self) -> None:
        """Wait until every client waits and no more requests arrive, the batch is full, or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        while len(self._waiting) < self._batch and loop.time() < deadline:
            before = len(self._waiting)
            await asyncio.sleep(min(_QUIET_S, self._wait_s))
            origins = {request.origin for request, _ in self._waiting}
            if len(self._waiting) == before and len(origins) >= self._clients():
                return
