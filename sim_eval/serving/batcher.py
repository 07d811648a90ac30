"""Gathers the requests that arrive close together, and has the models decide on them in a thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sim_eval.foundation.errors import RunError, in_one_line
from sim_eval.rollout.inference import Decider, decision_blocks, stacked, unnormalised
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models
from sim_eval.serving.requests import Request


@dataclass(frozen=True)
class Failure:
    """A request that could not be decided, and why, in one line."""

    reason: str


#: An answer's fields: actions (H, D) in the task's units, clipped to [-1, 1], and the same normalised; (samples, H, D)
#: if the request asked for several.
Answer = dict[str, Any]

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


def decide(models: Models, requests: Sequence[Request]) -> list[Answer | Failure]:
    """An answer for each. It depends on its request alone, not on the others, one of which may fail."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for at, request in enumerate(requests):
        groups.setdefault(request.together(), []).append(at)
    answers: dict[int, Answer | Failure] = {}
    for rows in groups.values():
        answers |= zip(rows, _decide_alike(models, [requests[row] for row in rows]), strict=True)
    return [answers[at] for at in range(len(requests))]


def _decide_alike(models: Models, requests: list[Request]) -> list[Answer | Failure]:
    start = time.perf_counter()
    try:
        drawn = _chunks(models, requests) if requests[0].samples > 1 else _chunk(models, requests)
    # Whatever a model raises is the fault of one request, which must not end the others.
    except (Exception, SystemExit) as error:
        if len(requests) == 1:
            return [Failure(in_one_line(error))]
        return [answer for request in requests for answer in _decide_alike(models, [request])]
    timing = {"infer_ms": 1e3 * (time.perf_counter() - start)}
    return [{"actions": actions, "normalised": chunk, "server_timing": timing} for actions, chunk in drawn]


def _chunk(models: Models, requests: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """One chunk for each: actions and normalised, (H, D)."""
    first = requests[0]
    if "critic" not in first.sampler.needs:
        models = replace(models, critic=None)  # which would value the chunk, for nobody
    decisions = Decider(first.sampler, models, first.label).decide(requests)
    return [(decision.actions, decision.normalised) for decision in decisions]


def _chunks(models: Models, requests: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """`samples` chunks of the frozen policy for each: actions and normalised, (samples, H, D)."""
    blocks = decision_blocks(requests, models.policy.row_block)
    return [drawn for block in blocks for drawn in _drawn(models, block)][: len(requests)]


def _drawn(models: Models, batch: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """`_chunks` for each request of a block."""
    policy, samples = models.policy, batch[0].samples
    observation, generators = stacked([r.observation for r in batch]), [r.generator() for r in batch]
    steps = getattr(batch[0].sampler, "steps", 1)
    chunks = draw_unsteered(policy, observation, generators, steps, samples)[0]
    if not torch.isfinite(chunks).all():
        raise RunError(f"the policy returned NaN or infinity, {batch[0].origin}")
    shape = (len(batch), samples, policy.horizon, policy.action_dim)
    actions, normalised = unnormalised(policy, chunks).reshape(shape), chunks.float().cpu().numpy().reshape(shape)
    return list(zip(actions, normalised, strict=True))
