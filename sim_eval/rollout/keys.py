"""Paired episode keys: every sampler runs the same starts with the same noise.

An episode's seeds depend only on (block, run seed, episode index), and a decision's noise only on (noise seed,
decision index), so the sampler, the batch size and the number of workers cannot change them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tasks import EpisodeKey, published_starts

if TYPE_CHECKING:
    import torch

#: What keys are for. Reported figures come from `eval`; strengths are chosen on `tune`; demonstrations and the policy's
#: rollouts start from `train`, a share of which is kept from the critics' training to score them.
BLOCKS = ("eval", "tune", "train")

# The low bits of env_seed hold the block, so that two blocks never share a start.
_BLOCK_BITS = 2
_ENV_SEED_BITS = 32  # numpy's global generator, which robosuite draws from, takes 32 bits
# Set in env_seeds that must not name a published start; those have small env_seeds.
_DRAWN = 1 << (_ENV_SEED_BITS - 1)


@functools.lru_cache(8192)  # each of several samplers has the same keys
def episode_key(task: str, seed: int, episode: int, block: str = "eval") -> EpisodeKey:
    """The key of one episode. `seed` and `episode` are non-negative; `block` is one of `BLOCKS`.

    `env_seed` is in [0, 2**32), `noise_seed` in [0, 2**63). If the benchmark publishes starts (LIBERO), the eval block
    runs them in order, repeatedly with other noise, and no other block uses them. Raises ValueError for an unknown
    block.
    """
    if block not in BLOCKS:
        raise ValueError(f"block is {block!r}; accepted: {', '.join(BLOCKS)}")
    index = BLOCKS.index(block)
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index, episode))
    env, noise = (int(word) for word in sequence.generate_state(2, np.uint64))
    env_seed = ((env >> (64 - _ENV_SEED_BITS + _BLOCK_BITS)) << _BLOCK_BITS) | index
    starts = published_starts(task)
    if starts is not None:
        env_seed = episode % starts if block == "eval" else env_seed | _DRAWN
    return EpisodeKey(task=task, episode=episode, env_seed=env_seed, noise_seed=noise >> 1)


def episode_keys(task: str, seed: int, episodes: int, block: str = "eval") -> list[EpisodeKey]:
    """The keys of episodes 0 to `episodes` - 1."""
    return [episode_key(task, seed, episode, block) for episode in range(episodes)]


def noise_generator(noise_seed: int, decision: int) -> torch.Generator:
    """A CPU generator for one decision of one episode.

    Seeded again for EVERY decision, so that all samplers get the same first noise at the same decision, however many
    numbers each has drawn before.
    """
    import torch

    state = np.random.SeedSequence([noise_seed, decision]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
