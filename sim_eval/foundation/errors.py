"""The engine's user errors."""

from __future__ import annotations

import traceback


class RunError(ValueError):
    """A run cannot start or go on; the message names the option or file, its value and what is accepted."""


class ModelError(RunError):
    """A model breaks its interface, as with a chunk of a wrong shape, which no other episode would mend."""


def in_one_line(error: BaseException) -> str:
    """A user error's own text; of any other exception the type, the text and the line that raised it."""
    if isinstance(error, RunError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rsplit("/", 1)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({file}:{frame.lineno})"
