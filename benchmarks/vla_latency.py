"""Milliseconds of one decision by sampler, for a SmolVLA of full size with random weights.

usage: python -m benchmarks.vla_latency OUTPUT.jsonl [cpu|cuda] [float32|bfloat16] [REPEATS] [BATCH,...]

The latency of a VLA does not depend on its weights. The architecture is that of lerobot/smolvla_base: SmolVLM2-500M
with its language model cut to 16 layers, an action expert three quarters as wide, chunks of 50 actions, 10 denoising
steps, two cameras at 512 pixels. Only the tokenizer is made up, so nothing is fetched. A small critic and the suite's
posterior net read the VLA's features. Each measurement is a line of OUTPUT; those already there are not repeated.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import tiny_lerobot
from policies.lerobot import build, library
from policies.lerobot.flow import FlowVLA
from policies.posterior_net import PosteriorConfig, PosteriorNet
from sim_eval import Critic
from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided

SAMPLERS: dict[str, Sampler] = {
    "unsteered": Unsteered(),
    "best_of_8": BestOfN(n=8),
    "value_guided": ValueGuided(strength=1.0),
    "qpilots_u": QPilotsU(strength=1.0),
    "qpilots_u, no jacobian": QPilotsU(strength=1.0, jacobian=False),
    "qpilots_m": QPilotsM(strength=1.0),
}
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


class SmallCritic(Critic):
    """A network of three layers on the VLA's features and the chunk."""

    observations = ()
    uses_features = True

    def __init__(self, vla: FlowVLA, features: int) -> None:
        self.net = torch.nn.Sequential(
            torch.nn.Linear(features + vla.horizon * vla.action_dim, 256),
            torch.nn.GELU(),
            torch.nn.Linear(256, 256),
            torch.nn.GELU(),
            torch.nn.Linear(256, 1),
        ).to(vla.device)
        self.net.requires_grad_(False)

    def encode(self, observation: Any, features: Tensor | None) -> Tensor:
        assert features is not None
        return features

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return self.net(torch.cat([encoded, actions.flatten(1)], dim=1))[:, 0]


def save_smolvla(folder: Path) -> str:
    """A checkpoint of `lerobot/smolvla_base`'s size with random weights, for LIBERO's observations."""
    module = library.module("policies.smolvla.modeling_smolvla")
    config = library.module("policies.smolvla.configuration_smolvla").SmolVLAConfig(
        **tiny_lerobot.features(),
        vlm_model_name=str(tiny_lerobot.tiny_vlm(folder / "vlm", TEXT, VISION, scale_factor=4)),
        load_vlm_weights=False,
        device="cpu",
    )
    return str(tiny_lerobot.save(folder, module.SmolVLAPolicy, config, tiny_lerobot.STATS, seed=0))


def models_on(device: str, dtype: str) -> Models:
    with tempfile.TemporaryDirectory() as folder:
        vla = build(save_smolvla(Path(folder)), device=device, dtype=dtype, image_size=256)
    assert isinstance(vla, FlowVLA)
    features = vla.encode(observation(1)).features.shape[1]
    posterior = PosteriorNet(PosteriorConfig(features, vla.action_dim, vla.horizon), vla).to(vla.device)
    weights = sum(weight.numel() for weight in vla.policy.parameters())
    print(f"{weights / 1e6:.0f} million weights; features of {features} numbers", flush=True)
    return Models(vla, SmallCritic(vla, features), posterior.requires_grad_(False))


def observation(rows: int) -> dict[str, Any]:
    pictures = np.random.default_rng(0).integers(0, 256, (rows, 256, 256, 3), dtype=np.uint8)
    made_up = tiny_lerobot.observations(rows)
    names = ("agentview_image", "robot0_eye_in_hand_image")
    return {**made_up, **dict.fromkeys(names, pictures), "instruction": ["put the bowl on the stove"] * rows}


def seconds(models: Models, sampler: Sampler, rows: int) -> float:
    """Wall time of one decision for `rows` episodes, until the device has finished."""
    generators = [torch.Generator().manual_seed(row) for row in range(rows)]
    start = time.perf_counter()
    chunks = sampler(models, observation(rows), generators)
    if chunks.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(output: Path, device: str, dtype: str, repeats: int, batches: list[int]) -> None:
    """Measure in turns, so that a busy machine slows all samplers alike."""
    models = models_on(device, dtype)
    seconds(models, SAMPLERS["unsteered"], 1)  # the first decision allocates memory
    for rows in batches:
        for repeat in range(repeats):
            for name, sampler in SAMPLERS.items():
                key = {"device": device, "dtype": dtype, "rows": rows, "sampler": name, "repeat": repeat}
                if any(key.items() <= line.items() for line in measured(output)):
                    continue
                line = json.dumps({**key, "seconds": seconds(models, sampler, rows)})
                with output.open("a") as file:
                    file.write(line + "\n")


def measured(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []


def table(output: Path) -> None:
    """Medians, and their ratios to unsteered of the same device, format and batch."""
    groups: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for line in measured(output):
        group = groups.setdefault((line["device"], line["dtype"], line["rows"]), {})
        group.setdefault(line["sampler"], []).append(line["seconds"])
    for (device, dtype, rows), samplers in groups.items():
        medians = {name: statistics.median(times) for name, times in samplers.items()}
        for name, median in medians.items():
            ratio = median / medians["unsteered"]
            count = len(samplers[name])
            print(
                f"{device} {dtype} batch {rows}  {name:23} {1e3 * median:9.0f} ms  {ratio:5.2f} x unsteered  n={count}"
            )


def main(arguments: list[str]) -> None:
    defaults = ["vla_latency.jsonl", "cuda" if torch.cuda.is_available() else "cpu", "float32", "3", "1,8"]
    output, device, dtype, repeats, batches = [*arguments, *defaults[len(arguments) :]]
    measure(Path(output), device, dtype, int(repeats), [int(rows) for rows in batches.split(",")])
    table(Path(output))


if __name__ == "__main__":
    main(sys.argv[1:])
