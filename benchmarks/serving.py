"""Decisions a second of `sim-eval serve`, with one client and with four that ask at the same time.

usage: python -m benchmarks.serving [SECONDS]
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from policies.openpi.connection import Connection, NoAnswer
from policies.openpi.handshake import Handshake

CLIENTS = (1, 4)
PICTURES = Path(__file__).resolve().parent / "picture_policy.py"
CASES = {
    "flow policy of Can, unsteered": ["task=can"],
    "flow policy of Can, qpilots_u": ["task=can", "sampler=qpilots_u"],
    "two pictures of 128 pixels": ["task=lift", f"policy={PICTURES}:build", "policy.size=128", "critic=none"],
}


@contextmanager
def server(options: list[str]) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and the process."""
    command = [sys.executable, "-m", "sim_eval", "serve", "port=0", "device=cpu", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" ", 1)[0], process.pid
        process.terminate()


def observation(handshake: Handshake) -> dict[str, Any]:
    """A made-up observation."""
    asked, rng = handshake.observation, np.random.default_rng(0)
    assert asked is not None
    size = asked.image_size
    return {
        name: "lift the cube"
        if name == "instruction"
        else rng.integers(0, 256, (size, size, 3), np.uint8)
        if name.endswith("_image")
        else rng.standard_normal(handshake.observation_sizes.get(name, 3)).astype(np.float32)
        for name in asked.names
    }


def client(address: str, seconds: float) -> list[float]:
    """Ask again and again for so long; milliseconds of each decision."""
    connection = Connection(address, None, 60.0)
    message = observation(connection.handshake)
    took: list[float] = []
    stop = time.perf_counter() + seconds
    while (start := time.perf_counter()) < stop:
        (answer,) = connection.exchange([{**message, "seed": len(took)}])
        assert not isinstance(answer, NoAnswer), answer.reason
        took.append(1e3 * (time.perf_counter() - start))
    connection.close()
    return took


def cpu_s(process: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(seconds: float) -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, options in CASES.items():
        with server(options) as (address, process):
            client(address, 1.0)  # the first decisions are slower
            for count in CLIENTS:
                before = cpu_s(process)
                with ThreadPoolExecutor(count) as threads:
                    took = list(threads.map(client, [address] * count, [seconds] * count))
                decisions, used = sum(map(len, took)), cpu_s(process) - before
                print(
                    f"{name:30} {count} clients {decisions / seconds:6.0f} decisions/s, median "
                    f"{statistics.median(itertools.chain(*took)):6.1f} ms; server {1e3 * used / decisions:5.1f} ms of "
                    f"processor time each, {used / seconds:4.0%} of a core"
                )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
