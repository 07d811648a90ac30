"""The options of the decision server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from sim_eval.config.options import Given, option
from sim_eval.config.samplers import SamplerOptions
from sim_eval.foundation.errors import RunError
from sim_eval.models.options import CriticOptions


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of the clients' demands.

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
class ServeOptions(SamplerOptions, CriticOptions):
    """Answer the decision requests of other programs until Ctrl-C. `token`: what clients must send."""

    samplers: tuple[str, ...] = option(
        ("unsteered",),
        "samplers that clients may ask for; the first draws for those that ask for none",
        entries=1,
    )
    host: str = option("127.0.0.1", "address to listen at; any but this machine's own demands a token")
    port: int = option(8000, "port to listen at; 0: any free one", least=0, most=65535)
    token_file: Path | None = option(
        None,
        "file of the token that clients must send; null: the environment variable SIM_EVAL_TOKEN, if it is set",
    )
    seed: int = option(0, "noise of requests without a seed", least=0)
    wait_ms: float = option(2.0, "longest wait for more requests to decide together", least=0, most=1000)
    batch: int = option(16, "requests that are decided together at most", least=1)
    connections: int = option(64, "clients at the same time", least=1)
    token: str | None = field(default=None, repr=False)

    @staticmethod
    def resolve(given: Given) -> None:
        """Read the token. Raises RunError for an address that others can reach without one."""
        from policies.openpi.token import VARIABLE, read_token  # loads torch

        host, file = given["host"], given["token_file"]
        try:
            token = given["token"] = read_token(None if file is None else str(file))
        except ValueError as error:
            raise RunError(str(error)) from None
        if token is None and not is_loopback(host):
            raise RunError(
                f"host is {host}, which other machines can reach, and there is no token; accepted: token_file=FILE, a "
                f"token in the environment variable {VARIABLE}, or host=127.0.0.1"
            )

    @property
    def limits(self) -> Limits:
        return Limits(wait_ms=self.wait_ms, batch=self.batch, connections=self.connections)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
