"""Rewards of OGBench's play data for a task with one goal, as OGBench's `relabel_dataset` gives them."""

from __future__ import annotations

import numpy as np

from tasks.ogbench_import import build_environment, environment_id, quiet
from tasks.random_state import seeded


def relabel(
    domain: str, index: int, sparse: bool, qpos: np.ndarray, button_states: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The reward of each of N states, and its mask, 0 at the goal, else 1: both (N,) float32.

    qpos: (N, n). button_states: (N, buttons), where the domain has buttons. `sparse`: the reward is -1 wherever
    OGBench's is not 0. Raises TaskError if OGBench cannot be imported.
    """
    env = build_environment(domain, index)
    from ogbench.relabel_utils import relabel_dataset  # after build_environment, which imports it without GL

    rows: dict[str, np.ndarray] = {"qpos": qpos}
    if button_states is not None:
        rows["button_states"] = button_states
    with seeded(0), quiet():
        relabel_dataset(environment_id(domain, index), env, rows)
    env.close()
    rewards, masks = rows["rewards"], rows["masks"]
    return (-(rewards != 0).astype(np.float32) if sparse else rewards), masks
