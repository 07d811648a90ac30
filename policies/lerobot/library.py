"""The LeRobot library, imported on first use."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from types import ModuleType

import torch

from policies.errors import PolicyError

#: Operators that torchvision describes to torch before it has found its compiled ones, which need CUDA's libraries.
_DESCRIBED = ("nms", "qnms")


def module(name: str) -> ModuleType:
    """The module lerobot.`name`. Raises PolicyError if LeRobot is not installed."""
    _prepare()
    return importlib.import_module(f"lerobot.{name}")


@functools.cache
def version() -> tuple[int, ...]:
    """LeRobot's version, such as (0, 4, 4). Raises PolicyError if it is not installed."""
    try:
        text = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError:
        raise PolicyError(
            "policy=lerobot needs the package lerobot, which is not installed: pip install 'sim-eval[lerobot]', or in a "
            "checkout scripts/lerobot.sh .venv"
        ) from None
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


@functools.cache
def _prepare() -> None:
    version()
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _describe_operators()
        importlib.import_module("torchvision")


def _describe_operators() -> None:
    """Let the registry's torchvision, built for CUDA, be imported beside a torch without it.

    LeRobot uses torchvision's ResNets and transforms, which need none of its compiled operators.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import has left
    _describe_operators.library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
    for name in _DESCRIBED:
        _describe_operators.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[attr-defined]
