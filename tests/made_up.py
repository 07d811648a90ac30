"""Records that no run made, where only a few fields matter."""

from __future__ import annotations

from typing import Any

from sim_eval.rollout.result import Cost
from sim_eval.runs.records import Record


def made_up_record(**fields: Any) -> Record:
    """A record of the toy task; `fields` replace its own."""
    plain: dict[str, Any] = {
        "task": "toy",
        "policy": "toy",
        "sampler": "unsteered",
        "strength": None,
        "episode": 0,
        "env_seed": 1,
        "noise_seed": 2,
        "state_hash": "start",
        "success": True,
        "steps": 40,
        "error": None,
        "wall_s": 1.0,
        "decisions": 5,
        "execute": 8,
        "cost": Cost(policy_rows=5, critic_rows=0, posterior_rows=0, decision_ms=1.0),
        "mean_q": 3.0,
        "q": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    return Record(**{**plain, **fields})
