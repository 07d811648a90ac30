"""Whole episodes in worker processes of this machine, each with models of its own.

No message passes per decision: a worker asks for a key when a slot of it is free, and sends back a finished episode. So
neither simulating waits for deciding nor a worker for another one. For policies with cheap rows on a CPU; others decide
in one process (`LocalEngine`).
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from sim_eval.config.components import LOADED, load_file
from sim_eval.rollout import interpreter
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import OUTCOME, Episode, Keep, ended_by, run_episodes
from sim_eval.rollout.pool import LocalPool
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey

#: How often an episode is begun before the loss of its process is its error.
TRIES = 2


class CannotMoveError(Exception):
    """Task, sampler or models cannot be built again in another process."""


@dataclass(frozen=True)
class _Wanted:
    """A worker asks for a key."""


@dataclass(frozen=True)
class _Later:
    """In the place of a key: there is none at the moment."""


@dataclass(frozen=True)
class _Ended:
    """A worker has played all that it was given; `error`: why it stopped before that."""

    error: BaseException | None = None


@dataclass(frozen=True)
class _Unloadable:
    """A worker cannot build what it was sent."""

    reason: str


@dataclass(eq=False)
class _Process:
    """A worker process.

    playing: the keys that it has and that have not ended. ready: it has built what it was sent.
    """

    pipe: Connection
    process: subprocess.Popen[bytes]
    playing: set[EpisodeKey] = field(default_factory=set)
    ready: bool = False

    def send(self, message: bytes) -> None:
        # receive() detects a process that has died.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send_bytes(message)

    def receive(self) -> Any:
        """The next message; None if the process has died."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()


class _HandOut:
    """Which key a worker plays next. Keys that were lost with a process are played again, each alone: one of them may
    have ended it.
    """

    def __init__(self, keys: Iterable[EpisodeKey]) -> None:
        self._waiting = deque(keys)
        self._suspects: deque[EpisodeKey] = deque()
        self._tries: dict[EpisodeKey, int] = {}

    @property
    def left(self) -> int:
        return len(self._waiting) + len(self._suspects)

    def next_for(self, playing: set[EpisodeKey]) -> EpisodeKey | _Later | None:
        """The next key of a worker that plays these, to which it is added; None: there are no more."""
        alone = any(key in self._tries for key in playing)
        if self._waiting and not alone:
            key = self._waiting.popleft()
        elif self._suspects and not playing:
            key = self._suspects.popleft()
        else:
            return _Later() if self._suspects or (alone and self._waiting) else None
        playing.add(key)
        return key

    def lost(self, playing: set[EpisodeKey]) -> list[EpisodeKey]:
        """Note that the process that played these has died; returns the keys that are not tried again."""
        failed = []
        for key in sorted(playing, key=lambda key: key.episode):
            self._tries[key] = self._tries.get(key, 0) + 1
            if self._tries[key] < TRIES:
                self._suspects.append(key)
            else:
                failed.append(key)
        return failed


def _speaking(busy: set[_Process]) -> list[_Process]:
    """The processes that have sent something, or died; waits for one."""
    spoken = wait([process.pipe for process in busy])
    return [process for process in list(busy) if process.pipe in spoken]


class ProcessEngine(Engine):
    """Plays `batch` episodes at the same time in each of `workers` processes, which start when they are needed."""

    def __init__(self, make_task: MakeTask, workers: int, batch: int) -> None:
        self._make_task, self._workers, self._batch = make_task, workers, batch
        self._processes: list[_Process] = []

    def finished(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[list[Episode]]:
        """As `Engine.finished`. Raises CannotMoveError if a worker cannot have models, perhaps after some episodes."""
        order = _packed((self._make_task, self._batch, sampler, models, label, keep))
        hand_out = _HandOut(keys)
        while len(self._processes) < min(self._workers, hand_out.left):
            self._processes.append(_Process(*interpreter.started(__name__)))
        busy = set(self._processes)
        try:
            for process in busy:
                process.send(order)
            while busy:
                for process in _speaking(busy):
                    message = process.receive()
                    if message is None:
                        if not process.ready:  # nor would the next one be
                            raise CannotMoveError("a worker process died at its start")
                        failed = hand_out.lost(process.playing)
                        busy.discard(process)
                        busy.add(self._replaced(process, order))
                        error = f"the worker process died (exit code {process.process.returncode})"
                        if failed:
                            yield [ended_by(error, key, models.policy.execute) for key in failed]
                    elif isinstance(message, Episode):
                        process.playing.discard(message.key)
                        yield [message]
                    elif isinstance(message, _Wanted):
                        process.ready = True
                        process.send(pickle.dumps(hand_out.next_for(process.playing)))
                    elif isinstance(message, _Unloadable):
                        raise CannotMoveError(message.reason)
                    else:
                        busy.discard(process)
                        if message.error is not None:
                            raise message.error
        finally:
            if busy:  # given up: what they still play is nobody's
                self.close()

    def _replaced(self, process: _Process, order: bytes) -> _Process:
        """A new process in the place of one that died."""
        process.end()
        self._processes.remove(process)
        fresh = _Process(*interpreter.started(__name__))
        self._processes.append(fresh)
        fresh.send(order)
        return fresh

    def close(self) -> None:
        for process in self._processes:
            process.end()
        self._processes = []


def _packed(order: Any) -> bytes:
    """What a worker needs, pickled behind the files that it has to load first."""
    try:
        content = pickle.dumps(order)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise CannotMoveError(str(error)) from None
    return pickle.dumps(([file for module, file in LOADED.items() if module.encode() in content], content))


def serve(handle: int) -> None:
    """A worker's main loop: take an order, play keys, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    pipe: Connection = Connection(handle)
    pool: LocalPool | None = None
    try:
        while True:
            files, content = pickle.loads(pipe.recv_bytes())
            try:
                for file in files:
                    load_file(file)
                make_task, batch, sampler, models, label, keep = pickle.loads(content)
            except Exception as error:  # whatever it is, the parent can decide in its own process
                pipe.send(_Unloadable(str(error)))
                continue
            if pool is None:
                pool = LocalPool(make_task, batch)
            pipe.send(_played(pipe, pool, sampler, models, label, keep))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        pass
    if pool is not None:
        pool.close()


def _played(pipe: Connection, pool: LocalPool, sampler: Sampler, models: Models, label: str, keep: Keep) -> _Ended:
    """Play what the parent hands out, and send each episode as it ends."""
    try:
        for episode in run_episodes(pool, _asked_for(pipe), sampler, models, label, keep):
            pipe.send(episode)
    except (EOFError, ConnectionResetError, BrokenPipeError):
        raise
    except Exception as error:  # whatever it is, the parent raises it
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return _Ended(error)
    return _Ended()


def _asked_for(pipe: Connection) -> Iterator[EpisodeKey | None]:
    """Keys from the parent, each when it is needed; None if there is none at the moment."""
    while True:
        pipe.send(_Wanted())
        key = pipe.recv()
        if key is None:
            return
        yield None if isinstance(key, _Later) else key
