"""Lets the registry's torchvision, built for CUDA, be imported beside a torch without it.

LeRobot uses torchvision's ResNets and transforms, and transformers imports it where it is installed. Neither needs any
of its compiled operators.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys

import torch

#: Operators that torchvision refers to whether or not its compiled ones could be loaded.
_OPERATORS = ("nms", "qnms")
#: Definitions last as long as this object.
_definitions: list[torch.library.Library] = []


@functools.cache
def make_torchvision_importable() -> None:
    """Import torchvision, if it is installed; define what it lacks first, if it cannot be imported as it is."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _define_operators()
        importlib.import_module("torchvision")


def _define_operators() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import has left
    definitions = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        definitions.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _definitions.append(definitions)
