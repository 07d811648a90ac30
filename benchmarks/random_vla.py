"""VLAs of LeRobot in their published sizes with random weights, built on the device that runs them; nothing is fetched.

The latency of a VLA does not depend on its weights. SmolVLA has the architecture of lerobot/smolvla_base: SmolVLM2-500M
with its language model cut to 16 layers, an action expert three quarters as wide, chunks of 50 actions, 10 denoising
steps, two cameras at 512 pixels. pi0.5 has LeRobot's defaults: 4.1 billion weights, 16 GB in float32. Only the
tokenizer is made up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import tiny_lerobot
from policies.lerobot import library
from policies.lerobot.features import observation_map
from policies.lerobot.flow import FlowVLA
from policies.lerobot.precision import set_precision
from policies.lerobot.processors import Processors

PICTURE = 256  # pixels a side of LIBERO's pictures
TEXT = {
    "model_type": "llama",
    "vocab_size": 49280,
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "head_dim": 64,
}
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}


def build(kind: str, device: str, dtype: str, tiny: bool = False) -> FlowVLA:
    """A "smolvla" or "pi05" for LIBERO's observations, in float32 or bfloat16, frozen.

    tiny: for tests, a SmolVLA of 0.2 million weights; pi0.5 is only given short chunks, since its networks have one
    size in LeRobot.
    """
    place = torch.device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, stats = _smolvla(folder, tiny) if kind == "smolvla" else _pi05(folder, tiny)
        config.device = device
        if hasattr(config, "dtype"):
            config.dtype = dtype
        with torch.random.fork_rng(), place:  # drawing 4 billion weights takes a CPU minutes
            torch.manual_seed(0)
            policy = library.module("policies.factory").get_policy_class(kind)(config).to(place)
        set_precision(policy, config, folder, dtype)
        with local_tokenizer(kind, folder / "vlm"):
            tiny_lerobot.save_processors(folder, config, stats)
        processors = Processors(folder, config, place, None, config.action_feature.shape[0])
    observations = observation_map(config, None, None, (), PICTURE, "rotated")
    return FlowVLA(policy.requires_grad_(False).eval(), processors, observations, config.n_action_steps)


def _smolvla(folder: Path, tiny: bool) -> tuple[Any, dict[str, Any]]:
    if tiny:
        return tiny_lerobot.smolvla_config(folder), tiny_lerobot.STATS
    config = library.module("policies.smolvla.configuration_smolvla").SmolVLAConfig(
        **tiny_lerobot.features(),
        vlm_model_name=str(tiny_lerobot.tiny_vlm(folder / "vlm", TEXT, VISION, scale_factor=4)),
        load_vlm_weights=False,
    )
    return config, tiny_lerobot.STATS


def _pi05(folder: Path, tiny: bool) -> tuple[Any, dict[str, Any]]:
    tiny_lerobot.tiny_vlm(folder / "vlm")
    return pi_config("pi05", **(tiny_lerobot.PI_SIZES if tiny else {})), tiny_lerobot.QUANTILES


def pi_config(kind: str, **options: Any) -> Any:
    """LeRobot's configuration of "pi0" or "pi05" for LIBERO's observations."""
    name = {"pi0": "PI0Config", "pi05": "PI05Config"}[kind]
    module = library.module(f"policies.{kind}.configuration_{kind}")
    return getattr(module, name)(**tiny_lerobot.features(), device="cpu", **options)


@contextmanager
def local_tokenizer(kind: str, words: Path) -> Iterator[None]:
    """Let the processors that LeRobot makes have the tokenizer in the folder `words`, where pi0's is the hub's."""
    processors = library.module(f"policies.{kind}.processor_{kind}")
    step = processors.TokenizerProcessorStep

    def local(**options: Any) -> Any:
        return step(**{**options, "tokenizer_name": str(words)})

    with mock.patch.object(processors, "TokenizerProcessorStep", local):
        yield
