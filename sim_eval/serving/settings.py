"""The options of `sim-eval-serve`, checked and resolved."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policies.openpi.token import VARIABLE, read_token
from sim_eval.config.components import Component
from sim_eval.config.compose import compose
from sim_eval.config.samplers import SamplerConfigs, read_samplers
from sim_eval.config.tasks import read_task, task_name
from sim_eval.config.values import port, whole
from sim_eval.errors import RunError
from sim_eval.models.options import read_models


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What bounds the clients' demands.

    wait_ms: longest wait for more requests to decide together. batch: requests decided together at most. connections:
    clients at the same time. window: requests of one client under way. samples: chunks a request may ask for. idle_s:
    longest wait for a client's next request. send_s: longest wait for a client to take an answer.
    """

    wait_ms: float = 2.0
    batch: int = 16
    connections: int = 64
    window: int = 16
    samples: int = 64
    idle_s: float = 3600.0
    send_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Which samplers draw with which models, for whom. `task`: its name. `sampler`: as in `RolloutSettings`."""

    task: str
    policy: Component
    critic: Component | None
    posterior: Component
    device: str
    checkpoints: Path | None
    sampler: SamplerConfigs
    host: str
    port: int
    token: str | None = field(repr=False)
    seed: int
    limits: Limits


def read_serve_settings(arguments: Sequence[str]) -> ServeSettings:
    """`sim-eval-serve`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("serve", arguments)
    task = task_name(read_task(config))
    return ServeSettings(
        task=task,
        **read_models(config, task),
        sampler=read_samplers(config),
        **_access(config),
        seed=whole("seed", config["seed"], 0),
        limits=_limits(config),
    )


def _access(config: Mapping[str, Any]) -> dict[str, Any]:
    """Address and token. Raises RunError for an address that others can reach without a token."""
    host = str(config["host"])
    try:
        token = read_token(config["token_file"])
    except ValueError as error:
        raise RunError(str(error)) from None
    if token is None and not is_loopback(host):
        raise RunError(
            f"host is {host}, which other machines can reach, and there is no token; accepted: token_file=FILE, a "
            f"token in the environment variable {VARIABLE}, or host=127.0.0.1"
        )
    return {"host": host, "port": port("port", config["port"]), "token": token}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def _limits(config: Mapping[str, Any]) -> Limits:
    wait_ms = config["wait_ms"]
    if not 0 <= wait_ms <= 1000:
        raise RunError(f"wait_ms is {wait_ms}; accepted: 0 to 1000")
    counts = {name: whole(name, config[name], 1) for name in ("batch", "connections")}
    return Limits(wait_ms=float(wait_ms), **counts)
