"""The LeRobot library, imported on first use."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from types import ModuleType

import torch

from policies.errors import PolicyError

#: Operators that torchvision refers to whether or not its compiled ones could be loaded.
_OPERATORS = ("nms", "qnms")
#: Definitions last as long as this object.
_definitions: list[torch.library.Library] = []


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
            "policy=lerobot needs the package lerobot, which is not installed; install sim-eval[lerobot], or in a "
            "checkout run scripts/vla.sh .venv"
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
        _define_operators()
        importlib.import_module("torchvision")


def _define_operators() -> None:
    """Let the registry's torchvision, built for CUDA, be imported beside a torch without it.

    LeRobot uses torchvision's ResNets and transforms, which need none of its compiled operators.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import has left
    definitions = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        definitions.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _definitions.append(definitions)
