"""Training data: scripted experts' demonstrations, and rollouts of the frozen policy."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

import numpy as np
from tqdm import tqdm

import tasks
from policies.observation import ObservationRequest
from sim_eval.config.engine import Workers
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import Episode, Keep
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.start import open_engine, work_through
from sim_eval.samplers import Models, Unsteered
from sim_eval.training.trajectories import StepRewards, Trajectory
from tasks.task import EpisodeKey, Observation, Task, TaskSpec

#: The simulator's state, as scripted experts, the small policies and critics read it.
STATE = tasks.EXPERT_OBSERVATIONS

#: Control steps between the pictures of a demonstration.
STRIDE = 4

#: Episodes that may be played for each demonstration that is kept.
TRIES = 3


def state_of(spec: TaskSpec) -> tuple[str, ...]:
    """The vectors that a critic reads by default: `STATE`, or all vectors if the task lacks one of these."""
    return STATE if set(STATE) <= spec.observations.keys() else tuple(spec.observations)


def demonstrations(
    finished: Collection[int],
    task: str,
    make_task: MakeTask,
    episodes: int,
    sloppy: float,
    seed: int,
    workers: Workers,
) -> Generator[tuple[int, Trajectory]]:
    """Scripted demonstrations of mixed quality, a share `sloppy` in [0, 1] of them by the sloppy expert.

    Yields the episodes that are not in `finished`, with their numbers, in order. An episode's start and its expert's
    randomness depend only on (seed, episode).
    """
    keys = _without(finished, episode_keys(task, seed, episodes, block="train"))
    done = work_through(keys, partial(_demonstrate, sloppy=sloppy), make_task, workers)
    with closing(done), _progress(f"{task} demonstrations", episodes, finished) as progress:
        for key, trajectory in zip(keys, done, strict=True):
            progress.update()
            yield key.episode, trajectory


def _without(finished: Collection[int], keys: Sequence[EpisodeKey]) -> list[EpisodeKey]:
    return [key for key in keys if key.episode not in finished]


def _progress(what: str, episodes: int, finished: Collection[int]) -> tqdm[None]:
    return tqdm(total=episodes, initial=min(len(finished), episodes), desc=what, disable=None)


def _demonstrate(task: Task, key: EpisodeKey, sloppy: float) -> Trajectory:
    rng = np.random.default_rng(np.random.SeedSequence([key.env_seed, key.noise_seed]))
    expert = tasks.expert(key.task, rng, "sloppy" if rng.random() < sloppy else "clean")
    request = ObservationRequest(STATE)
    task.reset(key)
    observation = task.observe(request)
    expert.reset(observation)
    seen, actions = [], []
    while True:
        action = np.asarray(expert.act(observation), np.float32)
        seen.append(observation)
        actions.append(action)
        outcome = task.step(action)
        if outcome.done or expert.finished:
            observations = {name: np.stack([noted[name] for noted in seen]) for name in STATE}
            return Trajectory(observations, np.stack(actions), outcome.success)
        observation = task.observe(request)


def demonstrations_with_pictures(
    finished: Collection[int],
    task: str,
    make_task: MakeTask,
    request: ObservationRequest,
    count: int,
    style: str,
    seed: int,
    workers: Workers,
) -> Generator[tuple[int, Trajectory]]:
    """`count` demonstrations in one `style` of `tasks.expert`, with what `request` names at every `STRIDE`-th step.

    Yields those after the episodes in `finished`, which count too, with their numbers, in order. A sloppy demonstration
    is kept as it was played. A recovering one starts after a short random motion, holds the intended actions and not
    the executed, noisy ones, leaves out an attempt that missed on purpose, and is dropped if it fails. Raises RunError
    if that leaves fewer than one in `TRIES`.
    """
    keys = episode_keys(task, seed, TRIES * count, block="train")[max(finished, default=-1) + 1 :]
    done = work_through(keys, partial(_demonstrate_with_pictures, request=request, style=style), make_task, workers)
    found = len(finished)
    with closing(done), _progress(f"{task} {style} demonstrations", count, finished) as progress:
        kept = ((key, trajectory) for key, trajectory in zip(keys, done, strict=True) if trajectory is not None)
        for key, trajectory in islice(kept, max(0, count - found)):
            found += 1
            progress.update()
            yield key.episode, trajectory
    if found < count:
        raise RunError(f"task {task}: {found} of {TRIES * count} {style} demonstrations succeeded; {count} are needed")


def _demonstrate_with_pictures(
    task: Task, key: EpisodeKey, request: ObservationRequest, style: str
) -> Trajectory | None:
    rng = np.random.default_rng(np.random.SeedSequence([key.env_seed, key.noise_seed]))
    expert = tasks.expert(key.task, rng, style)
    task.reset(key)
    recovering = style == "recovering"
    if recovering:
        _wander(task, rng)
    state = task.observe(ObservationRequest(STATE))
    expert.reset(state)
    states: list[Observation] = []
    decisions: list[Observation] = []
    actions: list[np.ndarray] = []
    done = False
    while not (done or expert.finished):
        action = np.asarray(expert.act(state), np.float32)
        if expert.exemplary or not recovering:
            if len(actions) % STRIDE == 0:
                decisions.append(task.observe(request))
            states.append(state)
            actions.append(np.asarray(expert.intended, np.float32) if recovering else action)
        outcome = task.step(action)
        done = outcome.done
        state = task.observe(ObservationRequest(STATE))
    if recovering and not (outcome.success and actions):
        return None
    return Trajectory(
        {name: np.stack([noted[name] for noted in states]) for name in STATE},
        np.stack(actions),
        outcome.success,
        {name: np.stack([seen[name] for seen in decisions]) for name in request.names},
        STRIDE,
    )


def _wander(task: Task, rng: np.random.Generator) -> None:
    """Up to 12 steps in one random direction, with an open gripper."""
    action = np.array([*rng.uniform(-0.6, 0.6, 3), *rng.uniform(-0.15, 0.15, 3), -1.0])
    for _ in range(int(rng.integers(0, 13))):
        task.step(action)


def policy_rollouts(
    finished: Collection[int],
    task: str,
    make_task: MakeTask,
    models: Models,
    state: Sequence[str],
    episodes: int,
    seed: int,
    workers: Workers,
    rewarded: bool = False,
) -> Generator[tuple[int, Trajectory]]:
    """Unsteered episodes of the frozen policy on the training block of keys.

    Yields those that are not in `finished`, with their numbers, as they end. `state`: simulator vectors to keep at
    every control step. What else the policy observes is kept at its decisions. `rewarded`: as in `trajectory_of`.
    Raises RunError if an episode crashes.
    """
    keys = episode_keys(task, seed + 1, episodes, block="train")  # + 1: other starts than the demonstrations'
    missing = _without(finished, keys)
    if not missing:
        return
    keep = keep_for(models.policy.request, state)
    successes = 0
    with open_engine(make_task, workers, batch=8) as engine, _progress(f"{task} rollouts", episodes, finished) as bar:
        for done, episode in enumerate(engine.play(missing, Unsteered(), models, "unsteered", keep), 1):
            if episode.error is not None:
                raise RunError(f"task {task}, episode {episode.key.episode}: {episode.error}")
            successes += episode.success
            bar.update()
            bar.set_postfix(success=f"{successes / done:.2f}")
            yield episode.key.episode, trajectory_of(episode, rewarded)


def keep_for(request: ObservationRequest, state: Sequence[str]) -> Keep:
    """Keep `state` at every control step, and what a policy with this request decides on where that is more."""
    decisions = request.history > 1 or not set(request.names) <= set(state)
    return Keep(tuple(state), decisions=decisions, timed=False)


def trajectory_of(episode: Episode, rewarded: bool = False) -> Trajectory:
    """The trajectory of an episode that was played with `Keep`. `rewarded`: the task has rewards of its own."""
    rewards = np.array(episode.rewards, np.float32)
    masks = np.ones_like(rewards)
    masks[-1:] = episode.timed_out
    return Trajectory(
        observations={name: values[:-1] for name, values in episode.trace.items()},
        actions=episode.actions,
        success=episode.success,
        decisions={name: np.stack([seen[name] for seen in episode.seen]) for name in (episode.seen or ({},))[0]},
        stride=episode.execute,
        rewards=StepRewards(rewards, masks) if rewarded else None,
    )
