"""The options of the engine: worker processes of this machine, or a Ray cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim_eval.config.values import not_negative, one_of, shown, whole, worker_count
from sim_eval.errors import RunError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster.

    address: "local", "auto" or "HOST:PORT". workers: how many; None for as many as its machines have room for.
    cpus, gpus: of each worker. drawing: "cpu", the EGL number of a GPU, or None for each machine's default.
    """

    address: str = "local"
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    drawing: str | None = None

    @property
    def processes(self) -> int:
        """Processes beside each worker that simulate; 0: the worker does."""
        return self.cpus if self.cpus > 1 or self.gpus else 0


#: What plays: a number of worker processes of this machine, 0 for none but this one, or a cluster.
Workers = int | Cluster


def read_workers(config: Mapping[str, Any]) -> Workers:
    """What plays, from composed options, by default processes of this machine.

    Raises RunError naming the option, its value and what is accepted.
    """
    if one_of("engine", config.get("engine", "local"), ENGINES) == "local":
        if given := [option for option in config.get("given", ()) if option.startswith("ray.")]:
            raise RunError(f"{given[0]} is given, and engine is local; accepted with it: engine=ray")
        return worker_count(config["workers"])
    options = config["ray"]
    address = str(options["address"])
    if address not in ("local", "auto") and not re.fullmatch(r"[^:/\s]+:\d+", address):
        raise RunError(f"ray.address is {address}; accepted: local, auto, HOST:PORT")
    drawing = options["drawing"]
    if drawing not in (None, "cpu"):
        if not isinstance(drawing, int) or isinstance(drawing, bool) or drawing < 0:
            raise RunError(f"ray.drawing is {shown(drawing)}; accepted: cpu, the EGL number of a GPU, null")
        drawing = str(drawing)
    return Cluster(
        address,
        None if config["workers"] is None else whole("workers", config["workers"], 1),
        whole("ray.cpus", options["cpus"], 1),
        not_negative("ray.gpus", options["gpus"]),
        drawing,
    )


def stored_workers(workers: Workers) -> dict[str, Any]:
    """The options of what plays as a run folder stores them: plain values."""
    return {"engine": "ray", "workers": workers.workers} if isinstance(workers, Cluster) else {"workers": workers}
