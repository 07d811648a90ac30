"""The LeRobot library, imported on first use."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from types import ModuleType

from policies.errors import PolicyError
from policies.torchvision_import import make_torchvision_importable


def module(name: str) -> ModuleType:
    """The module lerobot.`name`. Raises PolicyError if LeRobot is not installed."""
    version()
    make_torchvision_importable()
    return importlib.import_module(f"lerobot.{name}")


@functools.cache
def version() -> tuple[int, ...]:
    """LeRobot's version, such as (0, 4, 4). Raises PolicyError if it is not installed."""
    try:
        text = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError:
        raise PolicyError(
            "policy=lerobot needs the package lerobot, which is not installed; install sim-eval[lerobot], or in a "
            "checkout run scripts/extra.sh .venv vla"
        ) from None
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
