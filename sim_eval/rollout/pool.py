"""Environments in this process or in worker processes."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from sim_eval.foundation.errors import RunError
from sim_eval.rollout import interpreter
from sim_eval.rollout.environment import Command, Environment, Failed, MakeTask, Reply, Unbuildable
from tasks.simulated_task import release_asset_cache

_UNPICKLABLE = (AttributeError, TypeError, pickle.PicklingError)


class Closing(ABC):
    """Closes at the end of a `with` block."""

    @abstractmethod
    def close(self) -> None:
        """Free everything that it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pool(Closing):
    """A fixed number of environment slots that act in lockstep."""

    slots: int

    @abstractmethod
    def exchange(self, commands: Mapping[int, Command]) -> dict[int, Reply]:
        """Send a command to each slot given, wait for all replies. Raises RunError if the task cannot be built."""


class LocalPool(Pool):
    """All environments in this process."""

    def __init__(self, make_task: MakeTask, slots: int) -> None:
        self.slots = slots
        self._environments = _Environments(make_task)

    def exchange(self, commands: Mapping[int, Command]) -> dict[int, Reply]:
        return _checked(self._environments.handle(commands))

    def close(self) -> None:
        self._environments.close()


class ProcessPool(Pool):
    """Slot i lives in worker process i modulo `workers`."""

    def __init__(self, make_task: MakeTask, workers: int, slots: int) -> None:
        self.slots = slots
        self._workers = [_Worker(make_task) for _ in range(min(workers, slots))]

    def exchange(self, commands: Mapping[int, Command]) -> dict[int, Reply]:
        shares: list[dict[int, Command]] = [{} for _ in self._workers]
        for slot, command in commands.items():
            shares[slot % len(shares)][slot] = command
        busy = [(worker, share) for worker, share in zip(self._workers, shares, strict=True) if share]
        for worker, share in busy:
            worker.send(share)
        replies: dict[int, Reply] = {}
        for worker, share in busy:
            replies.update(worker.receive(share))
        return _checked(replies)

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()


def open_pool(make_task: MakeTask, workers: int, slots: int) -> Pool:
    """A pool of `slots` environments in `workers` processes; with 0 workers, in this process."""
    return ProcessPool(make_task, workers, slots) if workers else LocalPool(make_task, slots)


class _Environments:
    """The environments of one process, by slot."""

    def __init__(self, make_task: MakeTask) -> None:
        self._make_task = make_task
        self._by_slot: dict[int, Environment] = {}

    def handle(self, commands: Mapping[int, Command]) -> dict[int, Reply]:
        """The reply to each slot's command. An environment is built when its first command comes."""
        fresh = commands.keys() - self._by_slot.keys()
        self._by_slot |= {slot: Environment(self._make_task) for slot in fresh}
        replies = {slot: self._by_slot[slot].handle(command) for slot, command in commands.items()}
        if fresh:
            release_asset_cache()
        return replies

    def close(self) -> None:
        for environment in self._by_slot.values():
            environment.close()


def _checked(replies: dict[int, Reply]) -> dict[int, Reply]:
    """The replies. Raises RunError if no episode can run; where another one does, it is this episode's error."""
    broken = {slot: reply for slot, reply in replies.items() if isinstance(reply, Unbuildable)}
    if broken and len(broken) == len(replies):
        raise RunError(next(iter(broken.values())).error)
    return replies | {slot: Failed(reply.error) for slot, reply in broken.items()}


class _Worker:
    """One worker process, started again when it dies."""

    def __init__(self, make_task: MakeTask) -> None:
        try:
            self._factory = pickle.dumps(make_task)
        except _UNPICKLABLE as error:
            raise RunError(f"the task cannot be sent to worker processes: {error}; accepted: workers=0") from None
        self._start()

    def _start(self) -> None:
        self._pipe, self._process = interpreter.started(__name__)
        self._pipe.send_bytes(self._factory)

    def send(self, share: dict[int, Command]) -> None:
        # receive() detects and reports a worker that died while idle.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(share)

    def receive(self, share: dict[int, Command]) -> dict[int, Reply]:
        try:
            replies: dict[int, Reply] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._pipe.close()
            code = self._process.wait()
            self._start()
            return {slot: Failed(f"the worker process died (exit code {code})") for slot in share}
        return replies

    def stop(self) -> None:
        self._pipe.close()  # the worker ends when its pipe does
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()  # still inside a long simulation step of an abandoned run
            self._process.wait()


def serve(handle: int) -> None:
    """A worker's main loop: receive commands, send replies, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    pipe: Connection = Connection(handle)
    environments: _Environments | None = None
    try:
        factory = pipe.recv_bytes()
        # Unpickled when first built, so that a failing import is reported like a failing factory.
        environments = _Environments(lambda: pickle.loads(factory)())
        while True:
            replies = environments.handle(pipe.recv())
            try:
                pipe.send(replies)  # pickles all before it sends anything
            except _UNPICKLABLE:  # whatever a task observes
                pipe.send({slot: _sendable(reply) for slot, reply in replies.items()})
    except (EOFError, ConnectionResetError, BrokenPipeError):
        pass
    if environments is not None:
        environments.close()


def _sendable(reply: Reply) -> Reply:
    """The reply, or the error of its episode if it cannot be pickled."""
    try:
        pickle.dumps(reply)
    except _UNPICKLABLE as error:
        return Failed(f"what the task observes cannot be sent to another process: {error}")
    return reply
