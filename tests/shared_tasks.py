"""Tasks that tests share: compiling a scene takes seconds, and a reset leaves no trace of what ran before."""

from __future__ import annotations

import functools
from typing import Any

import tasks
from tasks.registry import options_of


@functools.cache
def shared_task(name: str, index: int = 0, stepping: str = "fast") -> Any:
    """The task, built once a process. A test resets it first, and does not close it."""
    options = {**options_of(name), **({"index": index} if index else {})}
    if stepping != "fast":
        options["stepping"] = stepping
    return tasks.make(**options)
