"""Episodes on this machine: decided in this process, or played whole in worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import OUTCOME, Episode, Keep, run_episodes
from sim_eval.rollout.inference import one_torch_thread
from sim_eval.rollout.pool import Pool, open_pool
from sim_eval.rollout.process_engine import CannotMoveError, ProcessEngine
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey

#: So many episodes are over before processes with models of their own have started.
FEW = 16

#: Up to so many workers, lockstep is as fast and takes less memory; beyond, they would wait for the decisions.
LOCKSTEP_WORKERS = 2

#: Environments of all processes that play whole episodes, by default, and the least in each. Those of a process share
#: the rows of a decision, which takes as long for one: 4 take 1.07 times the CPU time of 8 for unsteered episodes of
#: Can and 1.15 times with qpilots_u, 2 take 1.24 and 1.44 times.
IN_ALL, LEAST_EACH = 32, 4


class LocalEngine(Engine):
    """Worker processes that play whole episodes if they can have the models; else lockstep.

    In lockstep the environments are in this process or in worker processes and the models in this one. It is for
    policies with expensive rows or on a GPU, for models that cannot be built in another process, for few episodes, and
    for few workers. `apart`: this process has other work, so that workers play whole episodes however few they are.
    `each`: episodes at the same time in each process that plays whole ones; None: `default_each`.
    """

    def __init__(
        self, make_task: MakeTask, workers: int, batch: int, apart: bool = False, each: int | None = None
    ) -> None:
        self._make_task, self._workers, self._batch = make_task, workers, batch
        self._processes = ProcessEngine(make_task, workers, each or default_each(batch, workers))
        self._pool: Pool | None = None
        self._movable = workers > (0 if apart else LOCKSTEP_WORKERS)
        self._most_in_lockstep = -1 if apart else FEW  # episodes

    def finished(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[list[Episode]]:
        asked = list(keys)
        if self._movable and len(asked) > self._most_in_lockstep and one_torch_thread(models.policy):
            played: set[EpisodeKey] = set()
            try:
                for episodes in self._processes.finished(asked, sampler, models, label, keep):
                    played.update(episode.key for episode in episodes)
                    yield episodes
                return
            except CannotMoveError:
                self._movable = False
                asked = [key for key in asked if key not in played]
        if self._pool is None:
            self._pool = open_pool(self._make_task, self._workers, self._batch)
        for episode in run_episodes(self._pool, asked, sampler, models, label, keep):
            yield [episode]

    def close(self) -> None:
        self._processes.close()
        if self._pool is not None:
            self._pool.close()


def default_each(batch: int, workers: int) -> int:
    """Environments of each of many processes: at most `batch`, and no more than the memory of all is worth."""
    return min(batch, max(LEAST_EACH, IN_ALL // max(workers, 1)))
