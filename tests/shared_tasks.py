"""Tasks that tests share: compiling a scene takes seconds, and a reset leaves no trace of what ran before."""

from __future__ import annotations

from typing import Any

import tasks
from tasks.registry import options_of

#: Tasks kept at the same time, up to 0.5 GB each.
_MOST = 4
_kept: dict[tuple[str, int, str], Any] = {}


def shared_task(name: str, index: int = 0, stepping: str = "fast") -> Any:
    """The task, the same object while it is among the last four asked for. A test resets it first, and does not
    close it."""
    asked = name, index, stepping
    if asked in _kept:
        _kept[asked] = _kept.pop(asked)  # the latest last
        return _kept[asked]
    while len(_kept) >= _MOST:
        _kept.pop(next(iter(_kept))).close()
    options = {**options_of(name), **({"index": index} if index else {})}
    if stepping != "fast":
        options["stepping"] = stepping
    return _kept.setdefault(asked, tasks.make(**options))
