"""The episodes of a probe: every key unsteered, and once more with one early decision left to the critic.

The recorded chunks bring the simulator to the same state, the critic picks among draws, and both episodes go on with
the same noise. The unsteered episode executed the first of these draws there, which is a random one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from sim_eval.analysis.statistics import EARLY
from sim_eval.probing.choice import ArgmaxOnce, Recording, decision_seed
from sim_eval.probing.options import ProbeOptions
from sim_eval.rollout.episodes import Episode, Keep, run_episodes
from sim_eval.rollout.inference import PendingDecision, what_to_observe
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import Pool
from sim_eval.samplers.sampler import Models

#: Block of the keys: the one on which strengths are chosen, so that the reported block stays unseen.
BLOCK = "tune"

#: Draws among which the critic chooses.
CANDIDATES = 8


@dataclass(frozen=True)
class Played:
    """An unsteered episode. `early`: the critic's decision in the other one. `visits`: where chunks are compared."""

    episode: Episode
    early: PendingDecision
    visits: tuple[PendingDecision, ...]


@dataclass(frozen=True)
class Pair:
    """The successes of one episode: unsteered, a random `draw`, and with the `argmax` at decision number `decision`."""

    episode: int
    decision: int
    argmax: bool
    draw: bool


def play_unsteered(
    settings: ProbeOptions, models: Models, pool: Pool, recording: Recording, progress: tqdm[None]
) -> tuple[list[Played], list[str]]:
    """The episodes in the order of their keys, and one line for each that crashed."""
    keys = episode_keys(settings.task_name, settings.seed, settings.episodes, BLOCK)
    played, crashed = [], []
    for episode in run_episodes(pool, keys, recording, models, "unsteered", Keep(decisions=True)):
        progress.update()
        if episode.error is not None:
            crashed.append(f"episode {episode.key.episode}, unsteered: {episode.error}")
            continue
        rng = np.random.default_rng(np.random.SeedSequence(episode.key.noise_seed, spawn_key=(0,)))
        early = rng.integers(early_decisions(episode))
        visits = rng.choice(episode.decisions, min(settings.decisions, episode.decisions), replace=False)
        kept = tuple(_decision(episode, int(number)) for number in sorted(visits))
        played.append(Played(replace(episode, seen=()), _decision(episode, int(early)), kept))
    return sorted(played, key=lambda done: done.episode.key.episode), sorted(crashed)


def play_argmax(
    settings: ProbeOptions,
    models: Models,
    pool: Pool,
    played: Sequence[Played],
    recording: Recording,
    progress: tqdm[None],
) -> tuple[list[Pair], list[str]]:
    """The pairs in the order of their keys, and one line for each episode that is in none.

    The latter crashed, or did not reach the recorded state: the task's steps are not repeatable.
    """
    before = {done.episode.key.episode: done for done in played}
    prefix = [decision_seed(done.early.key, number) for done in played for number in range(done.early.decision)]
    chosen = {decision_seed(done.early.key, done.early.decision) for done in played}
    recorded = {seed: recording.chunks[seed] for seed in prefix}
    sampler = ArgmaxOnce(recorded, chosen, CANDIDATES, settings.steps)
    keys, vectors = [done.episode.key for done in played], _vectors(models)
    pairs, unpaired = [], []
    for episode in run_episodes(pool, keys, sampler, models, "argmax", Keep(decisions=True)):
        progress.update()
        number, done = episode.key.episode, before[episode.key.episode]
        at = done.early.decision
        if episode.error is not None:
            unpaired.append(f"episode {number}, argmax: {episode.error}")
        elif (
            episode.state_hash != done.episode.state_hash
            or len(episode.seen) <= at
            or not all(np.array_equal(episode.seen[at][name], done.early.observation[name]) for name in vectors)
        ):
            unpaired.append(f"episode {number}: its first {at} chunks, played again, did not lead to the same state")
        else:
            pairs.append(Pair(number, at, episode.success, done.episode.success))
    return sorted(pairs, key=lambda pair: pair.episode), sorted(unpaired)


def early_decisions(episode: Episode) -> int:
    """How many of its decisions are within the first `EARLY` control steps."""
    return min(episode.decisions, -(-EARLY // episode.execute))


def _decision(episode: Episode, number: int) -> PendingDecision:
    return PendingDecision(episode.key, number, episode.seen[number])


def _vectors(models: Models) -> list[str]:
    """The observations by which two states are compared: a drawn picture may differ on a GPU."""
    request = what_to_observe(models)
    return [name for name in request.names if name not in request.images]
