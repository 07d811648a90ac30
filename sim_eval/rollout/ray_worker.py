"""The actor on each worker of a Ray cluster: it keeps an environment pool and models from shard to shard."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from policies.policy import modules_of
from sim_eval.config.engine import Cluster
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.episodes import Episode, Keep, run_episodes
from sim_eval.rollout.pool import Pool, open_pool
from sim_eval.rollout.ray_transport import Packed, PackedTask, differing, installed
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey, Task


@dataclass(frozen=True)
class Order:
    """How to play keys.

    frozen: the policy and the posterior net. steering: the critic and the actors for the needs `actors`. Both refer to
    tuples in the object store, `Packed`.
    """

    sampler: Packed
    label: str
    keep: Keep
    actors: tuple[str, ...]
    frozen: ray.ObjectRef
    steering: ray.ObjectRef


class RayWorker:
    """A Ray actor. References come in lists: Ray would fetch a bare one again at every call."""

    def __init__(self, make_task: PackedTask, cluster: Cluster, batch: int, expected: Mapping[str, str]) -> None:
        self._make_task, self._cluster, self._batch, self._expected = make_task, cluster, batch, expected
        self._held: dict[str, tuple[str, Any]] = {}
        self._pool: Pool | None = None
        self._task: Task | None = None
        if cluster.drawing == "cpu":
            os.environ["MUJOCO_GL"] = "osmesa"
        elif cluster.drawing is not None:
            os.environ |= {"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": cluster.drawing}

    def ready(self) -> None:
        """Raises RunError if this machine would compute something else than the driver's."""
        if problem := differing(self._expected, installed()):
            raise RunError(f"machine {platform.node()}: {problem}; accepted: the same on every machine")

    def play(self, keys: Sequence[EpisodeKey], orders: list[ray.ObjectRef]) -> list[Episode]:
        """Every key's episode. Raises as `run_episodes`."""
        order: Order = self._kept("order", orders[0])
        sampler = self._kept("sampler", orders[0], lambda order: order.sampler.unpacked())
        policy, posterior = self._kept("frozen", order.frozen, self._models)
        critic, *actors = self._kept("steering", order.steering, self._models)
        if self._pool is None:
            self._pool = open_pool(self._make_task, self._cluster.processes, self._batch)
        models = Models(policy, critic, posterior, dict(zip(order.actors, actors, strict=True)))
        return list(run_episodes(self._pool, keys, sampler, models, order.label, order.keep))

    def work(self, item: Any, works: list[ray.ObjectRef]) -> Any:
        """The result of the work on one item."""
        if self._task is None:
            self._task = self._make_task()
        return self._kept("work", works[0], Packed.unpacked)(self._task, item)

    def _kept(self, what: str, reference: ray.ObjectRef, unpack: Callable[[Any], Any] = lambda thing: thing) -> Any:
        """The object of the reference, unpacked once. The one before it goes first: memory may not hold both."""
        name = reference.hex()  # the reference itself would keep the object in the store
        if self._held.get(what, ("", None))[0] != name:
            self._held.pop(what, None)
            self._held[what] = name, unpack(ray.get(reference))
        return self._held[what][1]

    def _models(self, sent: Packed) -> tuple[Any, ...]:
        """Models, on the worker's GPU if it has one."""
        models: tuple[Any, ...] = sent.unpacked()
        if self._cluster.gpus:
            for module in (module for model in models if model is not None for module in modules_of(model)):
                module.to("cuda")
        return models
