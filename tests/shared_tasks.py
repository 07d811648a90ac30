"""Tasks that tests share: compiling a scene takes seconds, and a reset leaves no trace of what ran before."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Any

import tasks
from tasks.registry import options_of

_BUILT: dict[tuple[str, int, str], Any] = {}


def shared_task(name: str, index: int = 0, stepping: str = "fast") -> Any:
    """The task, built once unless `free_above` has freed it. A test resets it first, and does not close it."""
    key = (name, index, stepping)
    if key not in _BUILT:
        options = {**options_of(name), **({"index": index} if index else {})}
        if stepping != "fast":
            options["stepping"] = stepping
        _BUILT[key] = tasks.make(**options)
    return _BUILT[key]


def free_above(gigabytes: float) -> None:
    """Close the shared tasks if this process holds more memory: drawn scenes take hundreds of megabytes each."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    if pages * os.sysconf("SC_PAGE_SIZE") < 1e9 * gigabytes:
        return
    for task in _BUILT.values():
        task.close()
    _BUILT.clear()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else the C library keeps what was freed
