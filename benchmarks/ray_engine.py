"""What Ray costs, and how many records a second one driver takes.

    python -m benchmarks.ray_engine turns [task=can] [episodes=40] [rounds=3]
    python -m benchmarks.ray_engine limit [records=4000]

`turns` times the process pool and Ray in turns, two workers each, on the same episodes. `limit` lets fake workers
answer at once, so that the driver alone is busy: with Ray's part alone, and with every record written, too.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks.episode_rate import episodes_a_minute
from sim_eval.config.components import Component
from sim_eval.config.engine import Cluster, Workers
from sim_eval.config.tasks import factory_of
from sim_eval.models.build import build_models
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.ray_scheduler import RayScheduler
from sim_eval.rollout.result import Cost
from sim_eval.rollout.start import open_engine
from sim_eval.runs.records import append_all, record_of
from sim_eval.samplers import Unsteered
from tasks.task import EpisodeKey

#: Keys of a shard of fake episodes.
SHARD = 8
#: Processes that stand for the workers: the driver sees one call of each worker, whoever answers.
PROCESSES = 2


def turns(task: str, episodes: int, rounds: int) -> None:
    """Episodes a minute, after a warm-up that starts every worker."""
    models = build_models(task, Component("flow"), None, Component("default"), frozenset())
    keys = episode_keys(task, 0, episodes)
    engines: dict[str, Workers] = {"pool": 2, "ray": Cluster(workers=2)}
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, workers in engines.items():
            with open_engine(factory_of(task), workers, batch=8) as engine:
                list(engine.play(keys[:16], Unsteered(), models, "unsteered"))
                rates[name].append(episodes_a_minute(engine, keys, Unsteered(), models))
            print(f"{name}: {rates[name][-1]:.1f} episodes a minute", flush=True)
    median = {name: float(np.median(found)) for name, found in rates.items()}
    print(f"medians: {median}, ray / pool {median['ray'] / median['pool']:.2f}")


class Fake:
    """A worker whose episodes cost nothing."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    def ready(self) -> None:
        pass

    def play(self, keys: Sequence[EpisodeKey]) -> list[Episode]:
        return [replace(self._episode, key=key) for key in keys]


def limit(count: int) -> None:
    """Records a second for several numbers of workers, and the driver's CPU time, however busy the machine."""
    ray.init("local", num_cpus=PROCESSES, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    keys = episode_keys("can", 0, count)
    episode = _episode(keys[0])
    fakes = [ray.remote(Fake).options(num_cpus=0).remote(episode) for _ in range(PROCESSES)]
    for workers in (10, 100, 1000):
        for written in (False, True):
            with tempfile.TemporaryDirectory(dir=".") as folder:
                start, before = time.perf_counter(), time.process_time()
                for episodes in _played(fakes, workers, keys):
                    if written:
                        records = [record_of(done, "flow", "unsteered", None) for done in episodes]
                        append_all(Path(folder), records, [done.actions for done in episodes])
                rate = count / (time.perf_counter() - start)
                cpu_ms = 1e3 * (time.process_time() - before) / count
            what = "written" if written else "received"
            print(f"{workers} workers, {what}: {rate:.0f} records a second, {cpu_ms:.2f} ms of CPU each", flush=True)
    ray.shutdown()


def _episode(key: EpisodeKey) -> Episode:
    """As long as an episode of Can."""
    return Episode(
        key=key,
        state_hash="0" * 64,
        success=True,
        steps=200,
        error=None,
        wall_s=9.0,
        decisions=25,
        execute=8,
        cost=Cost(policy_rows=250, critic_rows=0, posterior_rows=0, decision_ms=3.0),
        mean_q=0.5,
        q=[0.5] * 25,
        actions=np.random.default_rng(0).standard_normal((200, 7)).astype(np.float32),
    )


def _played(fakes: Sequence[Any], workers: int, keys: Sequence[EpisodeKey]) -> Iterator[list[Episode]]:
    started = iter(range(workers))
    scheduler = RayScheduler(start=lambda: fakes[next(started) % len(fakes)], room=lambda: workers)
    shards = [keys[first : first + SHARD] for first in range(0, len(keys), SHARD)]
    for ended in scheduler.run(shards, lambda fake, shard: fake.play.remote(shard)):
        yield [episode for _, episodes in ended for episode in episodes]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    given = dict(argument.split("=", 1) for argument in arguments)
    if what == "turns":
        turns(given.get("task", "can"), int(given.get("episodes", 40)), int(given.get("rounds", 3)))
    else:
        limit(int(given.get("records", 4000)))
