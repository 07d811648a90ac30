"""How a result was made: versions, machine, source revision, checkpoints, command."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policies.observation import ObservationRequest
from tasks import packages
from tasks.packages import LIBERO_ASSETS, SIMULATION

_PACKAGES = ("torch", "numpy", *SIMULATION, *LIBERO_ASSETS, "numba", "scipy", "hydra-core", "sim-eval")


def provenance(checkpoints: Mapping[str, str], request: ObservationRequest | None) -> dict[str, Any]:
    """A JSON-serialisable account of this process.

    `checkpoints`: role to SHA-256 of every model. `request`: what the policy observes, if it is known.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "machine": machine(),
        "git": git_revision(Path(__file__).parent),
        "checkpoints": dict(checkpoints),
        **({} if request is None else {"request": stored_request(request)}),
    }


def stored_request(request: ObservationRequest) -> dict[str, Any]:
    """A request as JSON holds it."""
    return {**asdict(request), "names": list(request.names)}


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that results depend on."""
    return {"python": platform.python_version(), **packages.versions(_PACKAGES)}


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory in GB, operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": model[1].strip() if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "platform": platform.platform(),
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit checked out at `folder`, and whether tracked files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, no checkout, or no commit yet
