"""Updates a second of the learner's critic by size and device: `python -m benchmarks.training_rate`.

The critic of `sim-eval learn data=FILE method=sarsa`, on made-up episodes with the sizes of the task can.
"""

from __future__ import annotations

import time

import torch

from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import Sarsa
from critics.replay import build_replay
from sim_eval.training.going_on import GoingOn
from sim_eval.training.workspace import seeded_weights

OBSERVATION, ACTION, HORIZON = 23, 7, 8
EPISODES, LENGTH = 256, 200
BATCH = 256
#: (heads, width, depth). The second is that of Ruan et al. 2026 (arXiv 2606.14801).
SIZES = ((10, 128, 3), (10, 512, 4))
WARM, MEASURED = 20, 200


def updates_a_second(
    size: tuple[int, int, int], device: torch.device, warm: int = WARM, measured: int = MEASURED
) -> float:
    """Over `measured` updates, after `warm` that are not timed."""
    heads, width, depth = size
    with seeded_weights(0):
        config = CriticConfig("sarsa", {"state": OBSERVATION}, ACTION, HORIZON, heads, width, depth)
        critic = EnsembleCritic(config).to(device)
        replay = build_replay(
            [
                (torch.randn(LENGTH, OBSERVATION), torch.randn(LENGTH, HORIZON, ACTION), episode % 2 == 0)
                for episode in range(EPISODES)
            ]
        )
    training = GoingOn(Sarsa(critic, replay), BATCH, seed=0)
    training.run(warm, lambda: None, warm, "warm")
    _wait(device)
    start = time.perf_counter()
    training.run(warm + measured, lambda: None, warm + measured, f"{heads} x {width} x {depth}, {device.type}")
    _wait(device)
    return measured / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    torch.set_num_threads(1)  # as sim-eval learn
    for size in SIZES:
        for name in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            rate = updates_a_second(size, torch.device(name))
            print(f"{size[0]} heads x {size[1]} x {size[2]}, batch {BATCH}, {name}: {rate:.1f} updates a second")


if __name__ == "__main__":
    main()
