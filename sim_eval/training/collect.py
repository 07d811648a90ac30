"""Where training data comes from: scripted experts' demonstrations, and rollouts of the frozen policy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

import tasks
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import open_pool
from sim_eval.samplers import Models, Unsteered
from sim_eval.training.trajectories import Trajectory
from tasks.task import EpisodeKey, Task

_task: Task  # one to a worker process, built by `_start`


def demonstrations(
    task: str, make_task: MakeTask, episodes: int, sloppy: float, seed: int, workers: int
) -> Iterator[Trajectory]:
    """Scripted demonstrations of mixed quality, a share `sloppy` in [0, 1] of them by the sloppy variant.

    Every episode's start, and its expert's randomness, follow from (seed, episode) alone.
    """
    keys = episode_keys(task, seed, episodes, block="train")
    with ProcessPoolExecutor(max(1, workers), get_context("spawn"), initializer=_start, initargs=(make_task,)) as pool:
        done = pool.map(partial(_demonstrate, sloppy=sloppy), keys, chunksize=4)
        yield from tqdm(done, total=episodes, desc=f"{task} demonstrations", disable=None)


def _start(make_task: MakeTask) -> None:
    global _task
    _task = make_task()


def _demonstrate(key: EpisodeKey, sloppy: float) -> Trajectory:
    rng = np.random.default_rng(np.random.SeedSequence([key.env_seed, key.noise_seed]))
    expert = tasks.expert(key.task, rng, sloppy=bool(rng.random() < sloppy))
    observation = _task.reset(key)
    expert.reset(observation)
    seen, actions = [], []
    while True:
        action = np.asarray(expert.act(observation), np.float32)
        seen.append(observation)
        actions.append(action)
        step = _task.step(action)
        observation = step.observation
        if step.done or expert.finished:
            return Trajectory({k: np.stack([o[k] for o in seen]) for k in observation}, np.stack(actions), step.success)


def policy_rollouts(
    task: str, make_task: MakeTask, models: Models, episodes: int, seed: int, workers: int, slots: int
) -> list[Trajectory]:
    """Unsteered episodes of the frozen policy on the training block of keys. A crashed episode raises RuntimeError."""
    keys = episode_keys(task, seed + 1, episodes, block="train")  # + 1: other starts than the demonstrations'
    trajectories, successes = [], 0
    with open_pool(make_task, workers, slots) as pool:
        finished = run_episodes(pool, keys, Unsteered(), models, "unsteered", keep_observations=True)
        progress = tqdm(finished, total=episodes, desc=f"{task} rollouts", disable=None)
        for episode in progress:
            if episode.observations is None:
                raise RuntimeError(f"{task} episode {episode.key.episode}: {episode.error}")
            observations = {k: v[:-1] for k, v in episode.observations.items()}
            trajectories.append((episode.key.episode, Trajectory(observations, episode.actions, episode.success)))
            successes += episode.success
            progress.set_postfix(success=f"{successes / len(trajectories):.2f}")
    return [trajectory for _, trajectory in sorted(trajectories, key=lambda pair: pair[0])]
