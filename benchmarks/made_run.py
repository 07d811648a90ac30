"""A run folder with made-up outcomes: nothing is simulated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim_eval.rollout.keys import EpisodeKey, episode_key
from sim_eval.runs.records import RECORDS, Record, to_line

#: What a made run says that it loaded.
CHECKPOINTS = {"policy": "abc"}

_ACCOUNT = {
    "started": "2026-01-01T00:00:00+00:00",
    "command": ["sim-eval", "task=made"],
    "versions": {"mujoco": "3.3.7"},
    "machine": {"processor": "none", "cores": 1, "memory_gb": 1.0, "platform": "none"},
    "git": None,
    "checkpoints": CHECKPOINTS,
}


def write(
    folder: Path,
    task: str,
    outcomes: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any] = {},
    checkpoints: Mapping[str, str] = CHECKPOINTS,
    **changes: Any,
) -> Path:
    """Samplers with the success of each episode.

    `settings` are laid over the configuration, `changes` over every record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "task": {"name": task, "stepping": "fast"},
        "policy": "flow",
        "critic": "critic",
        "samplers": list(outcomes),
        "sampler": {name: {} for name in outcomes},
        "episodes": len(next(iter(outcomes.values()))),
        "seed": 0,
        "block": "eval",
        **settings,
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    (folder / "provenance.json").write_text(json.dumps([{**_ACCOUNT, "checkpoints": checkpoints}]))
    generator = np.random.default_rng(0)
    lines = []
    for number, (sampler, successes) in enumerate(outcomes.items()):
        for episode, success in enumerate(successes):
            key = episode_key(task, config["seed"], episode, config["block"])
            record = _record(key, config["policy"], sampler, number, bool(success), generator)
            lines.append(json.dumps({**record, **changes}))
    (folder / RECORDS).write_text("\n".join(lines) + "\n")
    return folder


def rewrite(folder: Path, records: Sequence[Record]) -> None:
    """Put these records in the place of a folder's own."""
    (folder / RECORDS).write_bytes(b"".join(map(to_line, records)))


def _record(
    key: EpisodeKey, policy: str, sampler: str, number: int, success: bool, generator: np.random.Generator
) -> dict[str, Any]:
    steps = int(generator.integers(50, 300)) if success else 400
    return {
        "version": 2,
        "task": key.task,
        "policy": policy,
        "sampler": sampler,
        "strength": None,
        "episode": key.episode,
        "env_seed": key.env_seed,
        "noise_seed": key.noise_seed,
        "state_hash": f"{key.env_seed:064x}",
        "success": success,
        "steps": steps,
        "error": None,
        "wall_s": 1.0,
        "decisions": -(-steps // 8),
        "execute": 8,
        "cost": {
            "policy_rows": 10,
            "critic_rows": 0,
            "posterior_rows": 0,
            "decision_ms": round(3.0 + number + generator.random(), 3),
        },
        "mean_q": generator.normal() + success,
        "q": [round(generator.normal() + success, 4) for _ in range(-(-steps // 8))],
    }
