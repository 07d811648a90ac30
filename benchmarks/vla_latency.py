"""Milliseconds of one decision by sampler, for a SmolVLA of full size with random weights.

usage: python -m benchmarks.vla_latency OUTPUT.jsonl [cpu|cuda] [float32|bfloat16] [REPEATS] [BATCH,...]

The VLA is that of `benchmarks.random_vla`. A small critic and the suite's posterior net read its features. On CUDA each
sampler decides in turns eagerly and with CUDA graphs. Each measurement is a line of OUTPUT; those already there are not
repeated.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import random_vla, tiny_lerobot
from policies.lerobot.flow import FlowVLA
from policies.lerobot.graphs import Capture, cuda_graph
from policies.posterior_net import PosteriorConfig, PosteriorNet
from sim_eval import Critic
from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.denoise import initial_noise

Decision = Callable[[], Tensor]

SAMPLERS: dict[str, Sampler] = {
    "unsteered": Unsteered(),
    "best_of_8": BestOfN(n=8),
    "value_guided": ValueGuided(strength=1.0),
    "qpilots_u": QPilotsU(strength=1.0),
    "qpilots_u, no jacobian": QPilotsU(strength=1.0, jacobian=False),
    "qpilots_m": QPilotsM(strength=1.0),
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


def models_on(kind: str, device: str, dtype: str, tiny: bool = False) -> Models:
    vla = random_vla.build(kind, device, dtype, tiny)
    features = vla.encode(observation(1)).features.shape[1]
    posterior = PosteriorNet(PosteriorConfig(features, vla.action_dim, vla.horizon), vla).to(vla.device)
    weights = sum(weight.numel() for weight in vla.policy.parameters())
    print(f"{kind}: {weights / 1e6:.0f} million weights; features of {features} numbers", flush=True)
    return Models(vla, SmallCritic(vla, features), posterior.requires_grad_(False))


def observation(rows: int) -> dict[str, Any]:
    shape = (rows, random_vla.PICTURE, random_vla.PICTURE, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made_up = tiny_lerobot.observations(rows)
    names = ("agentview_image", "robot0_eye_in_hand_image")
    return {**made_up, **dict.fromkeys(names, pictures), "instruction": ["put the bowl on the stove"] * rows}


def decision(models: Models, sampler: Sampler, rows: int) -> Decision:
    """One decision for `rows` episodes, always from the same observations and noise."""
    seen = observation(rows)
    return lambda: sampler(models, dict(seen), _generators(rows))


def replayed(models: Models, capture: Capture) -> Models:
    """The same models, with a policy whose parts are captured and replayed."""
    assert isinstance(models.policy, FlowVLA)
    return replace(models, policy=models.policy.replayed_by(capture))


def librarys_own(vla: FlowVLA, rows: int) -> Decision:
    """The same decision, unsteered, by LeRobot's own `predict_action_chunk`, its pre-processing included."""
    seen = observation(rows)

    def decide() -> Tensor:
        noise = vla.library_noise(initial_noise(vla, _generators(rows)))
        policy: Any = vla.policy
        return policy.predict_action_chunk(vla.batch(dict(seen)), noise=noise)

    return decide


def _generators(rows: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(row) for row in range(rows)]


def seconds(decide: Decision) -> float:
    """Wall time of a decision, until the device has finished."""
    start = time.perf_counter()
    chunks = decide()
    if chunks.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(output: Path, device: str, dtype: str, repeats: int, batches: list[int]) -> None:
    """Measure in turns, so that a busy machine slows all samplers alike."""
    eager = models_on("smolvla", device, dtype)
    deciders = {name: (eager, sampler) for name, sampler in SAMPLERS.items()}
    if device == "cuda":
        graphed = replayed(eager, cuda_graph)
        deciders |= {f"{name}, graphs": (graphed, sampler) for name, sampler in SAMPLERS.items()}
    for rows in batches:
        for models, sampler in deciders.values():  # the first decision allocates memory and captures
            seconds(decision(models, sampler, rows))
        for repeat in range(repeats):
            for name, (models, sampler) in deciders.items():
                key = {"device": device, "dtype": dtype, "rows": rows, "sampler": name, "repeat": repeat}
                if any(key.items() <= line.items() for line in measured(output)):
                    continue
                line = json.dumps({**key, "seconds": seconds(decision(models, sampler, rows))})
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
                f"{device} {dtype} batch {rows}  {name:31} {1e3 * median:9.0f} ms  {ratio:5.2f} x unsteered  n={count}"
            )


def main(arguments: list[str]) -> None:
    defaults = ["vla_latency.jsonl", "cuda" if torch.cuda.is_available() else "cpu", "float32", "3", "1,8"]
    output, device, dtype, repeats, batches = [*arguments, *defaults[len(arguments) :]]
    measure(Path(output), device, dtype, int(repeats), [int(rows) for rows in batches.split(",")])
    table(Path(output))


if __name__ == "__main__":
    main(sys.argv[1:])
