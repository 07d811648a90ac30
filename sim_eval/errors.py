"""The engine's user errors."""

from __future__ import annotations


class RunError(ValueError):
    """A run cannot start or go on; the message names the option or file, its value and what is accepted."""
