"""Tiny pi0 and pi0.5 checkpoints of LeRobot with random weights; nothing is fetched.

LeRobot builds these policies in two sizes, both of billions of weights, and with PaliGemma's tokenizer from the hub.
Here its constructors get smaller sizes and a local tokenizer; what they build, save, load and compute is LeRobot's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import random_vla, tiny_lerobot
from policies.lerobot import library

KINDS = ("pi0", "pi05")
_HEADS = 8  # a constant in LeRobot's layers
_WIDTHS = {"gemma_2b": 48, "gemma_300m": 32}
_WORDS = 264


@contextmanager
def small_networks() -> Iterator[None]:
    """Let LeRobot build pi0 and pi0.5 with networks of some ten thousand weights, also when it loads a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            module = library.module(f"policies.{kind}.modeling_{kind}")
            patch.setattr(module, "get_gemma_config", functools.partial(_gemma, module.GemmaConfig))
            for name, shrink in (
                ("PaliGemmaForConditionalGenerationWithPiGemma", _shrink_vlm),
                ("PiGemmaForCausalLM", _shrink_words),
            ):
                patch.setattr(module, name, _shrunk(getattr(module, name), shrink))
        yield


def checkpoint(folder: Path, kind: str, seed: int = 0) -> Path:
    """A tiny "pi0" or "pi05" for LIBERO's observations; its chunks have 6 steps. Within `small_networks` alone."""
    config = random_vla.pi_config(kind, **tiny_lerobot.PI_SIZES)
    policy = library.module("policies.factory").get_policy_class(kind)
    with random_vla.local_tokenizer(kind, tiny_lerobot.tiny_vlm(folder / "vlm")):
        return tiny_lerobot.save(folder, lambda config: _alive(policy(config)), config, tiny_lerobot.QUANTILES, seed)


def _gemma(kind: Callable[..., Any], variant: str) -> Any:
    width = _WIDTHS[variant]
    return kind(width=width, depth=2, mlp_dim=width, num_heads=_HEADS, num_kv_heads=1, head_dim=8)


def _shrunk(kind: Callable[..., Any], shrink: Callable[[Any], None]) -> Callable[..., Any]:
    def build(config: Any) -> Any:
        shrink(config)
        return kind(config=config)

    return build


def _shrink_words(config: Any) -> None:
    config.vocab_size = _WORDS


def _shrink_vlm(config: Any) -> None:
    _shrink_words(config.text_config)
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"patch_size": 8, "projection_dim": config.text_config.hidden_size}
    for name, value in vision.items():
        setattr(config.vision_config, name, value)


def _alive(policy: Any) -> Any:
    """The policy with random weights where LeRobot starts at zero, without which pi0.5 does not hear of the time."""
    for name, weights in policy.named_parameters():
        if name.endswith("dense.weight"):
            torch.nn.init.normal_(weights, std=0.2)
    return policy
