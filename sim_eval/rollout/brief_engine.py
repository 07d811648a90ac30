"""An engine for several tasks in turns: one at a time holds processes and simulators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sim_eval.config.engine import Workers
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import OUTCOME, Episode, Keep
from sim_eval.rollout.start import open_engine
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey


class BriefEngine(Engine):
    """The engine of `open_engine`, which is opened for each use and closed after it."""

    def __init__(self, make_task: MakeTask, workers: Workers, batch: int, each: int | None = None) -> None:
        self._make_task, self._workers, self._batch, self._each = make_task, workers, batch, each

    def finished(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[list[Episode]]:
        asked = list(keys)
        if asked:
            with open_engine(self._make_task, self._workers, self._batch, each=self._each) as engine:
                yield from engine.finished(asked, sampler, models, label, keep)

    def close(self) -> None:
        """Nothing is open between two uses."""
