"""Milliseconds of one decision by sampler and device, and how far the normalised chunks of a GPU are from those of the
CPU.

usage: python -m benchmarks.latency [TASK]
"""

from __future__ import annotations

import statistics
import sys

import numpy as np
import torch

from sim_eval.config.components import Component
from sim_eval.models.build import build_models
from sim_eval.rollout.inference import Decider, PendingDecision
from sim_eval.samplers import QGF, VGPS, BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from tasks.task import EpisodeKey

SAMPLERS: dict[str, Sampler] = {
    "unsteered": Unsteered(),
    "best_of_n": BestOfN(),
    "vgps": VGPS(strength=1.0),
    "value_guided": ValueGuided(strength=0.6),
    "qgf": QGF(strength=1.0),
    "qpilots_u": QPilotsU(strength=1.0),
    "qpilots_u, no Jacobian": QPilotsU(strength=1.0, jacobian=False),
    "qpilots_u, matched": QPilotsU(strength=0.2, scale="matched", clip=True),
    "qpilots_m": QPilotsM(strength=1.0),
    "qpilots_m, 4 draws": QPilotsM(strength=1.0, draws=4),
}
EPISODES = 8
REPEATS = 20


def models_on(task: str, device: str) -> Models:
    needs = frozenset({"critic", "posterior"})
    return build_models(task, Component("flow"), Component("critic"), Component("default"), needs, device=device)


def waiting(task: str, models: Models) -> list[PendingDecision]:
    """Decisions of `EPISODES` episodes in made-up states."""
    generator = np.random.default_rng(0)
    sizes = models.policy.observation_sizes
    return [
        PendingDecision(
            EpisodeKey(task, episode, episode, episode),
            0,
            {name: generator.standard_normal(size).astype(np.float32) for name, size in sizes.items()},
        )
        for episode in range(EPISODES)
    ]


def chunks(sampler: Sampler, models: Models, pending: list[PendingDecision]) -> np.ndarray:
    """Normalised chunks (B, H, D) of these decisions."""
    return np.stack([decision.normalised for decision in Decider(sampler, models, "latency").decide(pending)])


def main(task: str) -> None:
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    reference: dict[str, np.ndarray] = {}
    for device in devices:
        models = models_on(task, device)
        pending = waiting(task, models)
        base = 0.0
        for name, sampler in SAMPLERS.items():
            decided = chunks(sampler, models, pending)
            decider = Decider(sampler, models, name)
            times = [decider.latency_ms(pending[0]) for _ in range(REPEATS)]
            median = statistics.median(times[REPEATS // 4 :])
            base = base or median
            gap = np.abs(decided - reference.setdefault(name, decided)).max()
            print(f"{device:5} {name:13} {median:7.2f} ms  {median / base:5.2f} x unsteered  {gap:.1e} from the CPU's")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "can")
