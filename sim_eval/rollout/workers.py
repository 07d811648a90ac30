"""Independent items of work spread over processes, each of which keeps its own task.

Used for videos and scripted demonstrations. A policy's rollouts share batches, and use `pool` instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Any, TypeVar

from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import MakeTask
from tasks.task import Task

Item = TypeVar("Item")
Result = TypeVar("Result")


class _TaskRunner:
    """Builds its task for the first item and keeps it for the others."""

    def __init__(self, make_task: MakeTask, work: Callable[[Task, Any], Any]) -> None:
        self._make_task, self._work = make_task, work
        self._task: Task | None = None

    def __call__(self, item: Any) -> Any:
        if self._task is None:
            self._task = self._make_task()
        return self._work(self._task, item)

    def close(self) -> None:
        if self._task is not None:
            self._task.close()


def work_through(
    items: Sequence[Item], work: Callable[[Task, Item], Result], make_task: MakeTask, workers: int
) -> Generator[Result]:
    """Yield `work(task, item)` for each item, in order, computed in `workers` processes; 0: in this process.

    Items, `work`, `make_task` and results must pickle. Raises what `work` raises, and RunError if a worker dies.
    """
    if not workers:
        with closing(_TaskRunner(make_task, work)) as runner:
            yield from map(runner, items)
        return
    # Spawned, because neither GL nor threads survive a fork.
    pool = ProcessPoolExecutor(
        min(workers, max(1, len(items))), multiprocessing.get_context("spawn"), _start, (make_task, work)
    )
    try:
        for future in [pool.submit(_run, item) for item in items]:
            yield future.result()
    except BrokenProcessPool:
        raise RunError(f"a worker process died; workers is {workers}, fewer take less memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


_runner: _TaskRunner  # a worker process's own


def _start(make_task: MakeTask, work: Callable[[Task, Any], Any]) -> None:
    global _runner
    # Software GL would draw with a thread a core in every process, and they would fight over the cores.
    os.environ["LP_NUM_THREADS"] = "1"
    _runner = _TaskRunner(make_task, work)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent was killed: its item would run for nobody, and it would then wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(item: Any) -> Any:
    # Ctrl-C reaches the whole group: it ends the item under way; between items it is the parent's alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _runner(item)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would start the next item, which it has handed out already
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
