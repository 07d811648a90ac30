"""Episodes a minute of 1 to 64 worker processes: measured with 1 and 2, predicted for more from measured parts.

usage: python -m benchmarks.scaling [TASK] [POLICY] [SAMPLER]

The parts are CPU seconds of this process and of the engine's: starting an episode, executing a chunk, deciding a block,
and what an episode costs the parent, which hands out keys, receives episodes and writes records. The prediction plays
episodes of the measured lengths in processes that each have a core of their own, while the parent serves one message
at a time. It knows nothing of memory bandwidth, which cores share, nor of cores that run slower when all are busy: the
measured rates of 2 processes say how much that is here.
"""

from __future__ import annotations

import heapq
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.episode_rate import episodes_a_minute
from benchmarks.latency import SAMPLERS
from sim_eval.config.components import Component
from sim_eval.config.tasks import factory_of
from sim_eval.models import store
from sim_eval.models.build import build_models
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import Command, MakeTask, Reply, Reset
from sim_eval.rollout.episodes import Episode, run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.local_engine import LocalEngine
from sim_eval.rollout.pool import LocalPool
from sim_eval.rollout.process_engine import ProcessEngine
from sim_eval.runs.records import append_all, record_of
from sim_eval.samplers import Models, Sampler
from tasks.task import EpisodeKey

BATCH = 8
EPISODES = 48
ROUNDS = 3
PROCESSES = (1, 2, 4, 8, 16, 32, 64)
#: Of each process, in the prediction: so many that its last ones, during which slots are empty, count little.
EACH = 100


@dataclass(frozen=True)
class Parts:
    """Seconds: of starting an episode, executing a chunk, deciding a block, and of the parent for an episode.

    lengths: decisions of each measured episode. block: rows that are decided at once.
    """

    start: float
    execute: float
    decide: float
    parent: float
    lengths: tuple[int, ...]
    block: int


class TimedPool(LocalPool):
    """Environments of this process, and the CPU seconds and numbers of their starts and chunks."""

    def __init__(self, make_task: MakeTask, slots: int, block: int) -> None:
        super().__init__(make_task, slots)
        self._block = block
        self.forget()

    def forget(self) -> None:
        """Measure anew."""
        self.starting = self.executing = 0.0
        self.starts = self.chunks = self.blocks = 0

    def exchange(self, commands: Mapping[int, Command]) -> dict[int, Reply]:
        begin = time.process_time()
        fresh = {slot: command for slot, command in commands.items() if isinstance(command, Reset)}
        replies = super().exchange(fresh) if fresh else {}
        between = time.process_time()
        deciding = {slot: command for slot, command in commands.items() if slot not in fresh}
        replies |= super().exchange(deciding) if deciding else {}
        self.starting += between - begin
        self.executing += time.process_time() - between
        self.starts += len(fresh)
        self.chunks += len(deciding)
        self.blocks += -(-len(deciding) // self._block)
        return replies


def parts_of(make_task: MakeTask, keys: Sequence[EpisodeKey], sampler: Sampler, models: Models) -> Parts:
    """Play the keys in this process, once to warm up, and time them; then receive and write them as the parent does."""
    block = max(models.policy.row_block, 1)
    pool = TimedPool(make_task, BATCH, block)
    list(run_episodes(pool, keys[: 2 * BATCH], sampler, models, "parts"))
    pool.forget()
    begin = time.process_time()
    played = list(run_episodes(pool, keys, sampler, models, "parts"))
    deciding = time.process_time() - begin - pool.starting - pool.executing
    pool.close()
    return Parts(
        start=pool.starting / pool.starts,
        execute=pool.executing / pool.chunks,
        decide=deciding / (pool.blocks + len(played)),  # the first decision of an episode is made once more, timed
        parent=_receiving(make_task, keys, sampler, models) + _writing(played),
        lengths=tuple(episode.decisions for episode in played),
        block=block,
    )


def _receiving(make_task: MakeTask, keys: Sequence[EpisodeKey], sampler: Sampler, models: Models) -> float:
    """CPU seconds of the parent for an episode that a worker plays."""
    with ProcessEngine(make_task, 1, BATCH) as engine:
        list(engine.play(keys[:BATCH], sampler, models, "parts"))  # starts the worker
        begin = time.process_time()
        list(engine.play(keys, sampler, models, "parts"))
        return (time.process_time() - begin) / len(keys)


def _writing(played: Sequence[Episode]) -> float:
    """CPU seconds of writing an episode's record, each alone."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        begin = time.process_time()
        for episode in played:
            append_all(Path(folder), [record_of(episode, "flow", "parts", None)], [episode.actions])
        return (time.process_time() - begin) / len(played)


def predicted(parts: Parts, processes: int, episodes: int, seed: int = 0) -> tuple[float, float]:
    """Episodes a minute of so many processes of `BATCH` slots, and the share of the time that the parent is busy."""
    waiting = list(np.random.default_rng(seed).choice(parts.lengths, episodes))
    slots: list[list[int]] = [[] for _ in range(processes)]  # decisions that each episode under way has left
    due = [(0.0, process) for process in range(processes)]
    parent_free = parent_busy = end = 0.0
    while due:
        now, process = heapq.heappop(due)
        going = [left for left in slots[process] if left]
        now += parts.decide * -(-len(going) // parts.block)
        fresh = [waiting.pop() for _ in range(min(BATCH - len(going), len(waiting)))]
        for _ in fresh:  # for each the worker sends an episode, and waits for a key
            parent_free = max(parent_free, now) + parts.parent
            parent_busy += parts.parent
            now = parent_free
        now += len(going) * parts.execute + len(fresh) * (parts.start + parts.decide)
        slots[process] = [left - 1 for left in going] + fresh
        end = max(end, now)
        if slots[process]:
            heapq.heappush(due, (now, process))
    return 60 * episodes / end, parent_busy / end


def main(task: str = "can", policy: str = "flow", sampler_name: str = "unsteered") -> None:
    sampler = SAMPLERS[sampler_name]
    own = store.CRITIC if policy == "flow" else store.critic_of(policy)
    critic = Component(own) if "critic" in sampler.needs else None
    models = build_models(task, Component(policy), critic, Component("default"), sampler.needs)
    make_task, keys = factory_of(task), episode_keys(task, 0, EPISODES)
    parts = parts_of(make_task, keys, sampler, models)
    print(
        f"{task}, policy={policy}, {sampler_name}: ms of CPU: start {1e3 * parts.start:.1f}, chunk "
        f"{1e3 * parts.execute:.1f}, decision of a block {1e3 * parts.decide:.1f}, parent {1e3 * parts.parent:.2f} an "
        f"episode; {statistics.mean(parts.lengths):.1f} decisions an episode"
    )
    engines: dict[str, Engine] = {
        "lockstep, in this process": LocalEngine(make_task, 0, BATCH),
        **{f"lockstep, {number} processes": LocalEngine(make_task, number, BATCH * number) for number in (1, 2)},
        **{f"apart, {number} processes": ProcessEngine(make_task, number, BATCH) for number in (1, 2)},
    }
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        list(engine.play(keys[: 2 * BATCH], sampler, models, "warm"))
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            rates[name].append(episodes_a_minute(engine, keys, sampler, models))
    for name, engine in engines.items():
        engine.close()
        print(f"measured, {name}: {statistics.median(rates[name]):.0f} episodes a minute, median of {ROUNDS}")
    for number in (1, 2):
        print(f"predicted for the same, apart, {number} processes: {predicted(parts, number, EPISODES)[0]:.0f}")
    alone, _ = predicted(parts, 1, EACH)
    for number in PROCESSES:
        rate, busy = predicted(parts, number, EACH * number)
        linear = rate / alone / number
        print(
            f"predicted, {number} processes, {EACH} episodes each: {rate:.0f}, {linear:.2f} of linear, the parent busy "
            f"{busy:.0%}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
