"""The number format of a checkpoint's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from policies.errors import PolicyError
from policies.lerobot.checkpoint import STORED, WEIGHTS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def check_dtype(dtype: str | None) -> None:
    """Raise PolicyError unless `dtype` is None (as the checkpoint stores its weights), float32 or bfloat16."""
    if dtype is not None and dtype not in DTYPES:
        raise PolicyError(f"policy.dtype={dtype}; accepted: {', '.join(DTYPES)}, or nothing for the checkpoint's own")


def set_precision(policy: Any, config: Any, folder: Path, dtype: str | None) -> None:
    """Convert the weights of a vision-language-action policy in place.

    The vision-language model and the action expert take `dtype`, the small layers around them stay in float32, as in
    LeRobot. pi0 and pi0.5 have been built in the right format by their configuration.
    """
    if hasattr(config, "dtype"):
        return
    if dtype == "float32":
        policy.float()
    elif dtype == "bfloat16":
        policy.model.vlm_with_expert.to(torch.bfloat16)
    else:
        _as_stored(policy, folder)


def _as_stored(policy: nn.Module, folder: Path) -> None:
    with safe_open(folder / WEIGHTS, framework="pt") as stored:
        names = set(stored.keys())
        for name, parameter in policy.named_parameters():
            if name in names:
                parameter.data = parameter.data.to(STORED[stored.get_slice(name).get_dtype()])
