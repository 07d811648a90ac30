"""The workers of a Ray cluster, each with at most one shard at a time; a shard that is lost is run again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from policies.errors import PolicyError
from sim_eval.foundation.errors import RunError
from tasks.task import TaskError

Shard = TypeVar("Shard")

#: How often a shard is begun. If it is lost every time, something in it may end its worker.
TRIES = 3

#: Seconds between two looks for machines that have joined the cluster.
_LOOK_S = 5.0

_LOST = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError, WorkerCrashedError)


@dataclass(frozen=True)
class Lost:
    """In the place of a result: the worker or its machine was lost."""


@dataclass(frozen=True)
class _Job:
    """A worker's job, tried for the `tries`-th time; without a shard, it starts."""

    worker: Any
    shard: Any = None
    tries: int = 0


class RayScheduler:
    """`start` starts a worker, which has a method `ready`; `room` says for how many the cluster has room now."""

    def __init__(self, start: Callable[[], Any], room: Callable[[], int]) -> None:
        self._start, self._room = start, room
        self._busy: dict[ray.ObjectRef, _Job] = {}
        self._idle: list[Any] = []
        self._next_look = 0.0

    def run(
        self, shards: Iterable[Shard], submit: Callable[[Any, Shard], ray.ObjectRef]
    ) -> Iterator[list[tuple[Shard, Any]]]:
        """Yield the shards that have finished since, each with its result or `Lost`. `submit` gives one to a worker.

        Raises RunError if a worker cannot start, and what a shard's call raises.
        """
        waiting = deque((shard, 1) for shard in shards)
        # Those at work for a run that was given up go: Ray ends a worker that nobody knows.
        self._busy = {call: job for call, job in self._busy.items() if not job.tries}
        left, self._next_look = len(waiting), 0.0
        while left:
            self._start_workers(left)
            while waiting and self._idle:
                worker, (shard, tries) = self._idle.pop(), waiting.popleft()
                self._busy[submit(worker, shard)] = _Job(worker, shard, tries)
            ended: list[tuple[Shard, Any]] = []
            for call in self._finished():
                job = self._busy.pop(call)
                result = self._result(call, job)
                if isinstance(result, Lost) and job.tries < TRIES:
                    waiting.appendleft((job.shard, job.tries + 1))
                elif job.tries:
                    ended.append((job.shard, result))
            left -= len(ended)
            if ended:
                yield ended

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in [*self._idle, *(job.worker for job in self._busy.values())]:
            ray.kill(worker)

    def _start_workers(self, shards: int) -> None:
        """Start workers for which there is room, and no more than there are shards."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        for _ in range(min(shards, self._room()) - len(self._busy) - len(self._idle)):
            self._make_ready(self._start())

    def _make_ready(self, worker: Any) -> None:
        """Give the worker shards as soon as it is alive: Ray restarts one that was lost, and calls `ready` again."""
        self._busy[worker.ready.options(max_task_retries=-1).remote()] = _Job(worker)

    def _finished(self) -> list[ray.ObjectRef]:
        """The calls that have ended since; waits for one, but not for ever, as machines may join meanwhile."""
        calls = list(self._busy)
        if not calls:  # every machine has left
            time.sleep(_LOOK_S)
            return []
        ended, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        if not ended:
            ended, _ = ray.wait(calls, num_returns=1, timeout=_LOOK_S)
        return list(ended)

    def _result(self, call: ray.ObjectRef, job: _Job) -> Any:
        """The result of the call, or `Lost`; its worker is free for other work."""
        try:
            result = ray.get(call)
        except RayTaskError as error:
            if isinstance(error.cause, RunError | PolicyError | TaskError):
                raise error.cause from None
            raise
        except _LOST as error:
            if not job.tries:
                raise RunError(f"a Ray worker cannot start: {error}; accepted: the suite on every machine") from None
            self._make_ready(job.worker)
            return Lost()
        self._idle.append(job.worker)
        return result
