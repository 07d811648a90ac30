"""Tasks that tests share: compiling a scene takes seconds, and a reset leaves no trace of what ran before."""

from __future__ import annotations

import functools
from typing import Any

import tasks


@functools.cache
def shared_task(name: str, index: int = 0, stepping: str = "fast") -> Any:
    """The task, built once a process. A test resets it first, and does not close it."""
    return tasks.make(name, index=index, stepping=stepping) if index else tasks.make(name, stepping=stepping)
