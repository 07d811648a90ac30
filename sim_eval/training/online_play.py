"""The episodes that the learner plays, and those of them that it learns from."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tqdm import tqdm

from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.episodes import Episode
from sim_eval.samplers import Models, Sampler
from sim_eval.training.collect import keep_for, trajectory_of
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.trajectories import Trajectory
from tasks.task import EpisodeKey

Found = TypeVar("Found")

#: Unsteered episodes that are played to the task's end; their successes say where later training episodes are cut.
UNCUT = 48
#: The share of these successes that the cut would leave.
KEPT = 0.85


@dataclass
class Player:
    """Plays on the engine. vectors: names of those that are kept at every control step."""

    settings: LearnOptions
    engine: Engine
    vectors: tuple[str, ...]
    told: bool = False  # what the first episodes wait for
    _given_up: threading.Event = field(default_factory=threading.Event)

    def play(
        self,
        keys: Sequence[EpisodeKey],
        sampler: Sampler,
        models: Models,
        limit: int | None = None,
        some: bool = False,
    ) -> list[Episode]:
        """Episodes of at most `limit` control steps in the order of their keys.

        Raises RunError if one ends in an error, which is neither a success nor a failure. With `some`, as there are
        enough to learn from, it is left out, which stderr is told.
        """
        if not self.told:
            tell_of_compiling(self.settings.task.options)
            self.told = True
        keep = replace(keep_for(models.policy.request, self.vectors), limit=limit)
        name = self.settings.sampler_name
        episodes = []
        for episode in self.engine.play(keys, sampler, models, name, keep):
            if self._given_up.is_set():
                raise CancelledError
            episodes.append(episode)
        for episode in episodes:
            if episode.error is not None:
                problem = f"{name}, episode {episode.key.episode}: {episode.error}"
                if not some:
                    raise RunError(problem)
                tqdm.write(f"left out: {problem}", file=sys.stderr)
        return sorted((each for each in episodes if each.error is None), key=lambda episode: episode.key.episode)

    @contextmanager
    def beside(self, play: Callable[[], Found]) -> Iterator[Future[Found]]:
        """Run `play`, which calls the method of this name, beside the block, which takes its result.

        A thread waits for the worker processes; without any, `play` runs before the block. If the block raises, no
        episode is awaited but the next one.
        """
        if self.settings.workers == 0:
            played: Future[Found] = Future()
            played.set_result(play())
            yield played
            return
        with ThreadPoolExecutor(1) as thread:
            try:
                yield thread.submit(play)
            except BaseException:
                self._given_up.set()
                raise


def trajectories_of(played: Sequence[Episode], rewarded: bool = False) -> list[Trajectory]:
    """What there is to learn from; `rewarded` as in `trajectory_of`. Raises RunError if that is nothing."""
    if not played:
        raise RunError("every episode of the round ended in an error, see above: there is nothing to learn from")
    return [trajectory_of(episode, rewarded) for episode in played]


def cut(played: Sequence[Episode] | Sequence[Trajectory]) -> int | None:
    """The length that the share `KEPT` of the successes among these full-length episodes do not exceed."""
    lengths = sorted(len(episode.actions) for episode in played if episode.success)
    return lengths[math.ceil(KEPT * len(lengths)) - 1] if lengths else None


def steps_of(trajectories: Sequence[Trajectory]) -> int:
    """The control steps of all."""
    return sum(len(trajectory.actions) for trajectory in trajectories)
