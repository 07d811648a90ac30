"""The options of what plays: worker processes of this machine, or a Ray cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sim_eval.config.options import Given, group, option
from sim_eval.config.values import shown, worker_count
from sim_eval.foundation.errors import RunError

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """A Ray cluster and what each of its workers takes."""

    address: str = option(
        "local", "local: a Ray of this machine's own; auto: the one that runs on this machine; or HOST:PORT of its head"
    )
    cpus: int = option(
        1,
        "cores of each worker; with more than one, or a GPU, it simulates and draws in as many processes beside its "
        "models",
        least=1,
    )
    gpus: float = option(0.0, "GPUs of each worker, such as 0.25; with 0 it computes on the CPU", least=0)
    drawing: str | None = option(
        None,
        "what pictures are drawn with: cpu (OSMesa), or the EGL number of a GPU; null: as each machine is set up",
    )


@dataclass(frozen=True, kw_only=True)
class Cluster(RayOptions):
    """A Ray cluster. workers: how many; None for as many as its machines have room for."""

    workers: int | None = None

    @property
    def processes(self) -> int:
        """Processes beside each worker that simulate; 0: the worker does."""
        return self.cpus if self.cpus > 1 or self.gpus else 0


#: What plays: a number of worker processes of this machine, 0 for none but this one, or a cluster.
Workers = int | Cluster


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where it runs."""

    workers: Workers = option(
        None,
        "worker processes; 0: everything in this process; null: one per core, with engine=ray of the cluster",
        least=0,
        kind="int | None",
    )
    engine: str = option(
        "local",
        "local: worker processes of this machine; ray: a Ray cluster, see docs/many_machines.md",
        choices=ENGINES,
    )
    ray: RayOptions = group(RayOptions)

    @staticmethod
    def resolve(given: Given) -> None:
        if given["engine"] == "local":
            if named := [name for name in given.named if name.startswith("ray.")]:
                raise RunError(f"{named[0]} is given, and engine is local; accepted with it: engine=ray")
            given["workers"] = worker_count(given["workers"])
        else:
            given["workers"] = _cluster(given)


def _cluster(given: Given) -> Cluster:
    address, drawing, workers = given["ray.address"], given["ray.drawing"], given["workers"]
    if address not in ("local", "auto") and not re.fullmatch(r"[^:/\s]+:\d+", address):
        raise RunError(f"ray.address is {address}; accepted: local, auto, HOST:PORT")
    if drawing not in (None, "cpu") and not drawing.isdecimal():
        raise RunError(f"ray.drawing is {drawing}; accepted: cpu, the EGL number of a GPU, null")
    if workers == 0:
        raise RunError(f"workers is {shown(workers)}; accepted with engine=ray: a whole number of at least 1")
    return Cluster(address=address, cpus=given["ray.cpus"], gpus=given["ray.gpus"], drawing=drawing, workers=workers)


def stored_workers(workers: Workers) -> dict[str, Any]:
    """The options of what plays as a run folder stores them: plain values."""
    return {"engine": "ray", "workers": workers.workers} if isinstance(workers, Cluster) else {"workers": workers}
