"""Films shot side by side: each worker process has its own task, and the files do not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from sim_eval.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.video.contact_sheet import Row
from sim_eval.video.episode_video import Film, shoot
from sim_eval.video.replay import View
from tasks.task import Task


class Studio:
    """One task, built when the first film is shot, and kept for the next."""

    def __init__(self, make_task: MakeTask, view: View) -> None:
        self._make_task, self._view = make_task, view
        self._task: Task | None = None

    def shoot(self, film: Film) -> list[Row]:
        if self._task is None:
            self._task = self._make_task()
        return shoot(film, self._task, self._view)

    def close(self) -> None:
        if self._task is not None:
            self._task.close()


def shoot_all(films: Sequence[Film], make_task: MakeTask, view: View, workers: int) -> Iterator[tuple[Film, list[Row]]]:
    """Shoot the films in `workers` processes, 0: in this one; each with its rows as it is finished.

    Raises what `shoot` raises, and RunError when a worker process dies.
    """
    if not workers:
        studio = Studio(make_task, view)
        try:
            yield from ((film, studio.shoot(film)) for film in films)
        finally:
            studio.close()
        return
    # Spawned, as neither GL nor threads survive a fork.
    pool = ProcessPoolExecutor(
        min(workers, len(films)), multiprocessing.get_context("spawn"), _open_studio, (make_task, view)
    )
    try:
        futures = {pool.submit(_shoot_here, film): film for film in films}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise RunError(f"a rendering process died; workers is {workers}, fewer take less memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


_studio: Studio  # a worker process's own


def _open_studio(make_task: MakeTask, view: View) -> None:
    global _studio
    _studio = Studio(make_task, view)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _shoot_here(film: Film) -> list[Row]:
    # Ctrl-C reaches the whole group: it ends the film under way; between films it is the parent's alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _studio.shoot(film)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would start the next film, which it has handed out already
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
