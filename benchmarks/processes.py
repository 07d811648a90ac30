"""Other programs, started and timed: wall-clock and CPU seconds with all their processes, and servers on loopback."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 600  # s for a server's start, on a loaded machine
_WAITER = """
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
status = subprocess.call(sys.argv[1:])
while True:
    try:
        os.wait()
    except ChildProcessError:
        sys.exit(status)
"""


@dataclass(frozen=True)
class Started:
    """A process, and the file that holds what it prints."""

    process: subprocess.Popen[bytes]
    log: Path


def start(command: Sequence[str], variables: dict[str, str], log: Path) -> Started:
    """A command that runs with these environment variables and prints to `log`."""
    with log.open("w") as file:
        return Started(subprocess.Popen(command, env=variables, stdout=file, stderr=subprocess.STDOUT), log)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Of a process and those that it started, once it has ended."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def timed(commands: Sequence[Sequence[str]], variables: dict[str, str], output: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of commands that run at the same time, their processes included.

    Each runs below a process that adopts and awaits what it leaves behind: LeRobot's simulations are children of a fork
    server that lerobot-eval does not wait for, and their CPU time would be lost.

    Raises RuntimeError with the end of what a command printed if it fails.
    """
    waiter = (sys.executable, "-S", "-c", _WAITER)
    began = time.perf_counter()
    running = [
        start([*waiter, *command], variables, output / f"log-{number}.txt") for number, command in enumerate(commands)
    ]
    cpu = 0.0
    for number, started in enumerate(running):
        cpu += cpu_seconds(started.process)
        if started.process.returncode:
            raise RuntimeError(f"{commands[number]} failed:\n{started.log.read_text()[-3000:]}")
    return time.perf_counter() - began, cpu


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def wait_until_healthy(server: Started, port: int) -> None:
    """Until a server of vla-eval has its policy. Raises RuntimeError if it ends or takes too long."""
    deadline = time.perf_counter() + _PATIENCE
    while time.perf_counter() < deadline and not _ended(server.process):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"{server.process.args!r} serves nothing:\n{server.log.read_text()[-3000:]}")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Leaves the process for `cpu_seconds` to wait for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
