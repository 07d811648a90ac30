"""Updates a second of the learner's critic by size and device: `python -m benchmarks.training_rate`.

The critic of `sim-eval learn data=FILE method=sarsa`, on made-up episodes with the sizes of the task can. On CUDA both
eager and as a CUDA graph, and whether the weights are equal after as many updates of each. With the word `tasks`: how
much longer an update of the critics of five tasks takes than that of one, in turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import Sarsa
from critics.replay import Played, Rewards, build_replay
from critics.stacked import StackedCritic
from sim_eval.training.going_on import GoingOn
from sim_eval.training.replayed import Captures, cuda_graphs
from sim_eval.training.workspace import seeded_weights

OBSERVATION, ACTION, HORIZON = 23, 7, 8
EPISODES, LENGTH = 256, 200
BATCH = 256
#: (heads, width, depth). The second is that of Ruan et al. 2026 (arXiv 2606.14801).
SIZES = ((10, 128, 3), (10, 512, 4))
WARM, MEASURED = 20, 200
#: Of a domain, and how often they and one are timed in turns.
TASKS, TURNS = 5, 5


class Trained(NamedTuple):
    """Updates a second, and the weights after them."""

    rate: float
    weights: list[Tensor]

    def same(self, other: Trained) -> bool:
        """Whether the weights are equal, bit for bit."""
        return all(map(torch.equal, self.weights, other.weights))


def eager(generator: torch.Generator) -> None:
    """The `Captures` of what is never captured."""


def trained(
    size: tuple[int, int, int],
    device: torch.device,
    warm: int = WARM,
    measured: int = MEASURED,
    tasks: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    captures: Captures = cuda_graphs,
) -> Trained:
    """The rate of `measured` updates, after `warm` that are not timed, in which a graph is captured, too.

    tasks: how many learn together.
    """
    heads, width, depth = size
    with seeded_weights(0):
        config = CriticConfig("sarsa", {"state": OBSERVATION}, ACTION, HORIZON, heads, width, depth)
        critic = EnsembleCritic(config).to(device)
        rewards = None
        if tasks is not None:
            critic, masks = StackedCritic(critic, tasks), torch.ones(tasks, LENGTH)
            rewards = Rewards(masks - 2, masks)
        replay = build_replay(
            [
                Played(
                    torch.randn(LENGTH, OBSERVATION), torch.randn(LENGTH, HORIZON, ACTION), episode % 2 == 0, rewards
                )
                for episode in range(EPISODES)
            ]
        )
    training = GoingOn(Sarsa(critic, replay), BATCH, seed=0, captures=captures)
    training.run(warm, lambda: None, warm, "warm")
    _wait(device)
    start = clock()
    training.run(warm + measured, lambda: None, warm + measured, f"{heads} x {width} x {depth}, {device.type}")
    _wait(device)
    rate = measured / (clock() - start)
    return Trained(rate, [parameter.detach() for parameter in critic.parameters()])


def price_of_tasks(size: tuple[int, int, int], device: torch.device) -> list[float]:
    """How many times as long as an update of one task's critic one of `TASKS` takes: of each turn.

    On the CPU in CPU time, which other processes hardly change.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    warm, measured = (2, 10) if device.type == "cpu" else (WARM, MEASURED)
    found = []
    for _ in range(TURNS):
        alone, together = (trained(size, device, warm, measured, tasks, clock).rate for tasks in (None, TASKS))
        found.append(alone / together)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    torch.set_num_threads(1)  # as sim-eval learn
    for size in SIZES:
        for name in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            if "tasks" in sys.argv[1:]:
                prices = price_of_tasks(size, torch.device(name))
                turns = ", ".join(f"{price:.2f}" for price in prices)
                print(
                    f"{size[0]} heads x {size[1]} x {size[2]}, batch {BATCH}, {name}: an update of {TASKS} tasks takes "
                    f"{statistics.median(prices):.2f} times that of one (turns: {turns})",
                    flush=True,
                )
                continue
            found = trained(size, torch.device(name), captures=eager)
            said = f"{size[0]} heads x {size[1]} x {size[2]}, batch {BATCH}, {name}"
            print(f"{said}, eager: {found.rate:.1f} updates a second", flush=True)
            if name == "cuda":
                graph = trained(size, torch.device(name))
                equal = "equal to" if graph.same(found) else "other than"
                print(f"{said}, graph: {graph.rate:.1f} updates a second, weights {equal} eager's", flush=True)


if __name__ == "__main__":
    main()
