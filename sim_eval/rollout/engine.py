"""One interface to what plays episodes: processes of this machine, or the workers of a Ray cluster."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

from sim_eval.rollout.episodes import OUTCOME, Episode, Keep
from sim_eval.rollout.pool import Closing
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey


class Engine(Closing):
    """Plays episodes of one task."""

    @abstractmethod
    def finished(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[list[Episode]]:
        """Run every key once and yield what has finished since: as `run_episodes`, with the same results.

        Raises RunError as `run_episodes`, and if a model cannot be sent to another machine.
        """

    def play(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[Episode]:
        """`finished`, one by one."""
        return chain.from_iterable(self.finished(keys, sampler, models, label, keep))
