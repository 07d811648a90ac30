"""The machine that computes a result: versions of what is installed, processor, source revision."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from tasks import packages
from tasks.packages import LIBERO_ASSETS, SIMULATION

_PACKAGES = ("torch", "numpy", *SIMULATION, *LIBERO_ASSETS, "numba", "scipy", "hydra-core", "sim-eval")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that results depend on."""
    return {"python": platform.python_version(), **packages.versions(_PACKAGES)}


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory in GB, operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "processor": model[1].strip() if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "platform": platform.platform(),
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit checked out at `folder`, and whether tracked files differ from it.

    None outside a checkout, and where git does not track the folder's Python files: a virtual environment may lie
    in the checkout of another project.
    """

    def git(*arguments: str) -> str:
        # git refuses the checkout of another owner. Its code runs in this process already; its hooks need not.
        trusted = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
        command = ["git", *trusted, "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()

    try:
        if not git("ls-files", "--", "*.py"):
            return None
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, no checkout, or no commit yet
