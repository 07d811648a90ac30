"""Starts of every robosuite environment, for two processes to compare: it imports the tasks alone."""

from __future__ import annotations

import hashlib

import tasks
from tasks.robosuite_any import environment_names
from tasks.task import EpisodeKey


def starts() -> list[str]:
    """Each environment's name, and one hash of six of its starts."""
    hashes = []
    for env in environment_names():
        task = tasks.make("robosuite", env=env)
        digest = hashlib.sha256()
        for env_seed in range(6):
            task.reset(EpisodeKey(task.spec.name, 0, env_seed, 0))
            digest.update(task.state_hash().encode())
        task.close()
        hashes.append(f"{env}:{digest.hexdigest()}")
    return hashes
