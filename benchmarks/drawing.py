"""Pictures a second, and decisions a minute of a policy that sees them: `python -m benchmarks.drawing`.

- Drawing: pairs of pictures from two cameras a second, with and without reflections and multisampling, by one process
  and by several side by side.
- Deciding: episodes of zero actions with two pictures at every decision, observing when the policy decides or at every
  control step; the policy itself takes no time.

Wall-clock seconds: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import tasks
from policies.observation import ObservationRequest
from sim_eval.installation.drawing import draw
from tasks import EpisodeKey, Task

_IMAGES = ("agentview_image", "robot0_eye_in_hand_image")


@contextmanager
def started(name: str) -> Iterator[Task]:
    """The task, its first episode under way, its GL library loaded."""
    task = tasks.make(name)
    task.reset(EpisodeKey(task.spec.name, 0, 0, 0))
    yield task
    task.close()


def pairs_a_second(name: str, request: ObservationRequest, seconds: float, start: float) -> float:
    """Pairs of pictures that this process draws in so many seconds from the clock's `start` on."""
    with started(name) as task:
        task.observe(request)  # loads textures
        time.sleep(max(0.0, start - time.time()))
        drawn, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            task.observe(request)
            drawn += 1
        return drawn / passed


def drawn_by(library: str, name: str, size: int, seconds: float) -> tuple[str, float]:
    """The renderer that MuJoCo's GL `library`, egl or osmesa, draws with, and pairs of pictures a second.

    For a process that has not drawn yet: it keeps the first library.
    """
    os.environ["MUJOCO_GL"] = library
    return draw(), pairs_a_second(name, ObservationRequest(_IMAGES, size), seconds, start=0.0)


def decisions_a_minute(
    task: Task, request: ObservationRequest, steps: int, observed_every: int, decisions: int
) -> float:
    """Decisions of `steps` control steps each, with a picture after every `observed_every` of them."""
    begin = time.perf_counter()
    task.reset(EpisodeKey(task.spec.name, 0, 0, 0))
    for step in range(decisions * steps):
        if step % observed_every == 0:
            task.observe(request)
        task.step(np.zeros(task.spec.action.shape))
    return 60.0 * decisions / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure drawing, alone and in a rollout.")
    parser.add_argument("--task", default="libero_goal", choices=tasks.names())
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--steps", type=int, default=8, help="control steps of a decision")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of drawing for each figure")
    given = parser.parse_args()

    def request(reflections: bool = True, multisampling: bool = True) -> ObservationRequest:
        return ObservationRequest(_IMAGES, given.size, reflections=reflections, multisampling=multisampling)

    print(f"{given.task}, two cameras, {given.size} pixels a side\n")
    print("| processes | reflections | multisampling | pairs/s |")
    print("|---|---|---|---|")
    for processes, reflections, multisampling in itertools.product(given.processes, (True, False), (True, False)):
        start = time.time() + 15.0  # all have built their task by then
        job = (given.task, request(reflections, multisampling), given.seconds, start)
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            rate = sum(pool.starmap(pairs_a_second, [job] * processes, chunksize=1))
        print(f"| {processes} | {_yes(reflections)} | {_yes(multisampling)} | {rate:.1f} |", flush=True)
    with started(given.task) as task:
        rates = [decisions_a_minute(task, request(), given.steps, every, 20) for every in (given.steps, 1)]
    print(f"\ndecisions a minute, one every {given.steps} control steps: {rates[0]:.0f} if observed when deciding,")
    print(f"{rates[1]:.0f} if observed at every step: {rates[0] / rates[1]:.1f} times as many")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
