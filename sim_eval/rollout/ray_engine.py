"""Episodes on a Ray cluster: workers play shards of the keys, this process hands their episodes on.

Ray places workers, starts those again that were lost, and carries models and results. Each worker has an environment
pool and models of its own, so that nothing but keys and episodes moves while it plays.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from sim_eval.config.engine import Cluster
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import OUTCOME, Episode, Keep, ended_by
from sim_eval.rollout.ray_scheduler import TRIES, Lost, RayScheduler
from sim_eval.rollout.ray_transport import installed, packed, packed_task
from sim_eval.rollout.ray_worker import Order, RayWorker
from sim_eval.samplers.sampler import Models, Sampler
from tasks.task import EpisodeKey, Task

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Bytes of a folder that leave room, of the 107 of a socket's path, for ray/session_TIME_PID/sockets/plasma_store.
_LONGEST_FOLDER = 36

#: Seconds in which the head of a cluster must take a connection.
_CONNECT_S = 10.0


class RayEngine(Engine):
    """Plays on the workers of a cluster, which it starts as they are needed."""

    def __init__(self, make_task: MakeTask, cluster: Cluster, batch: int) -> None:
        task = packed_task(make_task)
        self._cluster, self._batch = cluster, batch
        self._sent: dict[str, tuple[tuple[object, ...], ray.ObjectRef]] = {}
        self._started = _connect(cluster)
        if not _room(cluster):
            self._disconnect()
            raise RunError(
                f"a worker needs ray.cpus={cluster.cpus} and ray.gpus={cluster.gpus:g}, and no machine of the Ray "
                "cluster has them; accepted: less, or other machines"
            )
        actor = ray.remote(RayWorker).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=-1)
        expected = installed()
        self._scheduler = RayScheduler(
            start=lambda: actor.remote(task, cluster, batch, expected),
            room=lambda: _room(cluster) if cluster.workers is None else cluster.workers,
        )

    def finished(
        self, keys: Iterable[EpisodeKey], sampler: Sampler, models: Models, label: str, keep: Keep = OUTCOME
    ) -> Iterator[list[Episode]]:
        order = ray.put(self._order(sampler, models, label, keep))
        lost: list[EpisodeKey] = []

        def submit(worker: Any, shard: Sequence[EpisodeKey]) -> ray.ObjectRef:
            return worker.play.remote(shard, [order])

        for ended in self._scheduler.run(self._shards(list(keys)), submit):
            for shard, played in ended:
                if isinstance(played, Lost):
                    lost += shard
            if found := [episode for _, played in ended if not isinstance(played, Lost) for episode in played]:
                yield found
        for ended in self._scheduler.run([[key] for key in lost], submit):  # which of them ends its worker?
            for shard, played in ended:
                yield [_lost(shard[0], models)] if isinstance(played, Lost) else played

    def work(self, items: Sequence[Item], work: Callable[[Task, Item], Result]) -> Generator[Result]:
        """`work(task, item)` for each item, in order. Raises RunError if an item loses its worker every time."""
        order = ray.put(packed("the work", work))
        done: dict[int, Result] = {}
        following = 0
        for ended in self._scheduler.run(
            enumerate(items), lambda worker, numbered: worker.work.remote(numbered[1], [order])
        ):
            for (number, _), result in ended:
                if isinstance(result, Lost):
                    raise RunError(f"item {number} has lost its Ray worker {TRIES} times; a machine may lack memory")
                done[number] = result
            while following in done:
                yield done.pop(following)
                following += 1

    def close(self) -> None:
        self._scheduler.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._started:
            ray.shutdown()

    def _shards(self, keys: list[EpisodeKey]) -> list[list[EpisodeKey]]:
        """At most `batch` keys each, and at least two shards a worker, if there are as many keys."""
        workers = _room(self._cluster) if self._cluster.workers is None else self._cluster.workers
        size = max(1, min(self._batch, len(keys) // max(1, 2 * workers)))
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def _order(self, sampler: Sampler, models: Models, label: str, keep: Keep) -> Order:
        """The workers' order: all that they need besides keys. Models that were sent before are not sent again."""
        if models.policy.device.type == "cuda" and not self._cluster.gpus:
            raise RunError("ray.gpus is 0, and the models run on a GPU; accepted: ray.gpus=0.25, or device=cpu")
        return Order(
            packed(f"sampler {label}", sampler),
            label,
            keep,
            tuple(models.actors),
            self._send("the policy", (models.policy, models.posterior)),
            self._send("the critic", (models.critic, *models.actors.values())),
        )

    def _send(self, what: str, things: tuple[object, ...]) -> ray.ObjectRef:
        """The things in Ray's object store; each `what` keeps only what was sent last."""
        before = self._sent.get(what)
        if before is None or [*map(id, before[0])] != [*map(id, things)]:
            before = self._sent[what] = things, ray.put(packed(what, things))
        return before[1]


def _lost(key: EpisodeKey, models: Models) -> Episode:
    return ended_by(f"its worker was lost {TRIES} times", key, models.policy.execute)


def _connect(cluster: Cluster) -> bool:
    """Join the cluster, unless this process is in one; returns whether it has to be left. Raises RunError."""
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"address": cluster.address}
    if cluster.address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
        cores = len(os.sched_getaffinity(0))
        options |= {"num_cpus": max(cores, cluster.cpus * (cluster.workers or 1)), "include_dashboard": False}
        options |= _short_folder()
    elif cluster.address != "auto":
        _check_listening(cluster.address)
    try:
        ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise RunError(
            f"ray.address is {cluster.address}: {str(error).strip().splitlines()[0]}; accepted: local, or auto or "
            "HOST:PORT on a machine that `ray start` has made part of a cluster"
        ) from None
    return True


def _short_folder() -> dict[str, str]:
    """Another folder for Ray's sockets where TMPDIR is long: the system limits the length of a socket's path."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return {}
    return {"_temp_dir": "/tmp/ray"}  # Ray's own choice without TMPDIR


def _check_listening(address: str) -> None:
    """Raise RunError if nothing listens there: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise RunError(
            f"ray.address is {address}, and no cluster answers there ({error}); accepted: local, auto, or the "
            "HOST:PORT that `ray start --head` has told"
        ) from None


def _room(cluster: Cluster) -> int:
    """For how many workers the machines that are alive have room, used or not."""
    return sum(_fitting(node["Resources"], cluster) for node in ray.nodes() if node["Alive"])


def _fitting(resources: dict[str, float], cluster: Cluster) -> int:
    by_cpus = int(resources.get("CPU", 0) // cluster.cpus)
    return min(by_cpus, int(resources.get("GPU", 0) / cluster.gpus + 1e-9)) if cluster.gpus else by_cpus
