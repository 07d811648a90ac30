"""Episodes a minute of an engine whose workers have started."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sim_eval.rollout.engine import Engine
from sim_eval.samplers import Models, Sampler
from tasks.task import EpisodeKey


def episodes_a_minute(engine: Engine, keys: Sequence[EpisodeKey], sampler: Sampler, models: Models) -> float:
    """Raises RuntimeError for an episode that ends in an error: it would count as a quick one."""
    start = time.perf_counter()
    played = list(engine.play(keys, sampler, models, "rate"))
    minutes = (time.perf_counter() - start) / 60
    for episode in played:
        if episode.error is not None:
            raise RuntimeError(f"episode {episode.key.episode}: {episode.error}")
    return len(played) / minutes
