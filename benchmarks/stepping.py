"""Control steps a second of stock, fast and raw MuJoCo stepping, and reset times: `python -m benchmarks.stepping`.

One expert episode a task is recorded, then replayed by each in turn, several rounds in one run on one core:

- stock: robosuite's own loop, without reward and returned observation;
- fast: `tasks.fast_stepper`;
- raw: MuJoCo's `mj_step` alone, 25 substeps from each of the episode's states with that step's last command;
- task: `Task.step` on fast stepping, with the success check.

Resets: `Task.reset`, and robosuite's own, which builds and compiles the model anew. Times are CPU seconds of this
process, so that other load disturbs little. Figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from tqdm import tqdm

import tasks
from policies.observation import ObservationRequest
from tasks import EXPERT_OBSERVATIONS
from tasks.robosuite_task import RobosuiteTask
from tasks.stepping import Stepper, make_stepper
from tasks.stock_stepper import substeps_of
from tasks.task import EpisodeKey

_REQUEST = ObservationRequest(EXPERT_OBSERVATIONS)
_SEED = 0
_HARD_RESETS = 2


@dataclass(frozen=True)
class Recording:
    """An expert's episode: (steps, 7) actions, and each step's starting state and last command for `mj_step`."""

    key: EpisodeKey
    actions: np.ndarray
    states: list[dict[str, np.ndarray]]


def _build(name: str, stepping: str) -> RobosuiteTask:
    task = tasks.make(name, stepping)
    assert isinstance(task, RobosuiteTask)
    return task


def record(task: RobosuiteTask) -> Recording:
    """Play the scripted expert once on `task`."""
    key = EpisodeKey(task.spec.name, 0, _SEED, _SEED)
    expert = tasks.expert(task.spec.name, np.random.default_rng(_SEED))
    task.reset(key)
    expert.reset(task.observe(_REQUEST))
    data = task._env.sim.data._data
    actions, states = [], []
    done = False
    while not done:
        state = {field: getattr(data, field).copy() for field in ("qpos", "qvel", "qacc_warmstart")}
        actions.append(np.clip(expert.act(task.observe(_REQUEST)), -1.0, 1.0))
        done = task.step(actions[-1]).done
        states.append(state | {"ctrl": data.ctrl.copy()})
    return Recording(key, np.array(actions), states)


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process that one call of `work` takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def stepper_rate(task: RobosuiteTask, stepper: Stepper, recording: Recording) -> float:
    """Control steps a second of a stepper, replaying the actions."""
    task.reset(recording.key)
    stepper.reset()

    def replay() -> None:
        for action in recording.actions:
            stepper.step(action)

    return len(recording.actions) / seconds(replay)


def task_rate(task: RobosuiteTask, recording: Recording) -> float:
    """Control steps a second of `Task.step`. The replay may succeed a step early, and ends there."""
    task.reset(recording.key)
    spent, steps, done = 0.0, 0, False
    while not done and steps < len(recording.actions):
        before = time.process_time()
        done = task.step(recording.actions[steps]).done
        spent += time.process_time() - before
        steps += 1
    return steps / spent


def raw_rate(task: RobosuiteTask, recording: Recording) -> float:
    """Control steps a second of `mj_step` alone, on the states that the recorded episode went through."""
    import mujoco  # after `tasks.make`, which keeps this import from looking for a display

    env = task._env
    model, data, substeps = env.sim.model._model, env.sim.data._data, substeps_of(env)
    spent = 0.0
    for state in recording.states:
        for field, value in state.items():
            getattr(data, field)[:] = value
        spent += seconds(lambda: mujoco.mj_step(model, data, nstep=substeps))
    return len(recording.states) / spent


def reset_time(task: RobosuiteTask, recording: Recording) -> float:
    """Seconds of one `Task.reset`."""
    return seconds(lambda: task.reset(recording.key))


def hard_reset_time(task: RobosuiteTask) -> float:
    """Seconds of robosuite's own reset. `task` cannot be used afterwards."""
    task._env.hard_reset = True
    return float(np.median([seconds(task._env.reset) for _ in range(_HARD_RESETS)]))


def measure(name: str, rounds: int) -> dict[str, float]:
    """Medians of all figures of one task."""
    # Two tasks, because fast stepping changes its model's drawing options, which would speed up raw too.
    stock, fast = _build(name, "stock"), _build(name, "fast")
    recording = record(fast)
    steppers = make_stepper(stock._env, "stock"), make_stepper(fast._env, "fast")
    figures: dict[str, list[float]] = {"stock": [], "fast": [], "raw": [], "task": [], "reset": []}
    for _ in tqdm(range(rounds), desc=name, leave=False, disable=None):
        figures["stock"].append(stepper_rate(stock, steppers[0], recording))
        figures["fast"].append(stepper_rate(fast, steppers[1], recording))
        figures["raw"].append(raw_rate(stock, recording))
        figures["task"].append(task_rate(fast, recording))
        figures["reset"].append(reset_time(fast, recording))
    medians = {figure: float(np.median(values)) for figure, values in figures.items()}
    return medians | {"steps": len(recording.actions), "hard reset": hard_reset_time(stock)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure stepping and resets, one core, one run.")
    parser.add_argument("--tasks", nargs="+", default=["lift", "can", "square"], choices=tasks.names())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"mujoco {version('mujoco')}, robosuite {version('robosuite')}, numba {version('numba')}; steps a second")
    print("| task | steps | stock | fast | raw | fast/stock | fast/raw | task | reset ms | robosuite reset ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.tasks:
        m = measure(name, arguments.rounds)
        print(
            f"| {name} | {m['steps']} | {m['stock']:.0f} | {m['fast']:.0f} | {m['raw']:.0f} "
            f"| {m['fast'] / m['stock']:.1f} | {m['fast'] / m['raw']:.2f} | {m['task']:.0f} "
            f"| {1e3 * m['reset']:.1f} | {1e3 * m['hard reset']:.0f} |"
        )


if __name__ == "__main__":
    main()
