"""The number formats of a checkpoint's weights, and of its vision tower's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from policies.errors import PolicyError
from policies.lerobot.checkpoint import STORED, WEIGHTS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VISION = ("tf32", "bfloat16")


def check_dtype(dtype: str | None) -> None:
    """Raise PolicyError unless `dtype` is None (as the checkpoint stores its weights), float32 or bfloat16."""
    if dtype is not None and dtype not in DTYPES:
        raise PolicyError(f"policy.dtype={dtype}; accepted: {', '.join(DTYPES)}, or nothing for the checkpoint's own")


def check_vision(vision: str | None) -> None:
    """Raise PolicyError unless `vision` is None, tf32 or bfloat16."""
    if vision is not None and vision not in VISION:
        raise PolicyError(f"policy.vision={vision}; accepted: {', '.join(VISION)}, or nothing for the weights' own")


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


def set_vision(policy: Any, vision: str | None) -> None:
    """Let a vision-language-action policy embed its pictures in `vision`; its weights and its tokens keep their format.

    tf32 shortens the numbers that CUDA's matrix products read, and does nothing elsewhere. bfloat16 is torch's
    autocast.
    """
    if vision is not None:
        both = encoders(policy.model)
        dtype = next(weight.dtype for name, weight in both.named_parameters() if "vision" in name)
        both.embed_image = partial(_embedded, both.embed_image, vision, dtype)


def encoders(model: Any) -> Any:
    """The vision-language model and the action expert of SmolVLA, or of pi0 and pi0.5, as LeRobot joins them."""
    return model.vlm_with_expert if hasattr(model, "vlm_with_expert") else model.paligemma_with_expert


def _embedded(embed: Callable[[Tensor], Tensor], vision: str, dtype: torch.dtype, image: Tensor) -> Tensor:
    if vision == "tf32":
        with _tf32():
            return embed(image)
    with torch.autocast(image.device.type, torch.bfloat16, cache_enabled=False):  # a graph's capture allows no cache
        return embed(image).to(dtype)


@contextmanager
def _tf32() -> Iterator[None]:
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = True
    try:
        yield
    finally:
        products.allow_tf32 = before
