"""Rewards of OGBench's play data for a task with one goal, as OGBench's `relabel_dataset` gives them."""

from __future__ import annotations

import numpy as np

from tasks.ogbench_import import build_environment, environment_id, quiet
from tasks.random_state import seeded

#: The observations that rewards follow from, where a domain has them.
REWARDED_BY = ("qpos", "button_states")


class Relabeller:
    """Gives states the rewards of one task; holds OGBench's environment of it until `close`.

    `sparse`: the reward is -1 wherever OGBench's is not 0. Raises TaskError if OGBench cannot be imported.
    """

    def __init__(self, domain: str, index: int, sparse: bool) -> None:
        self._id, self._sparse = environment_id(domain, index), sparse
        self._env = build_environment(domain, index)

    def __call__(self, qpos: np.ndarray, button_states: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The reward of each of N states, and its mask, 0 at the goal, else 1: both (N,) float32.

        qpos: (N, n). button_states: (N, buttons), where the domain has buttons.
        """
        from ogbench.relabel_utils import relabel_dataset  # after build_environment, which imports it without GL

        rows: dict[str, np.ndarray] = {"qpos": qpos}
        if button_states is not None:
            rows["button_states"] = button_states
        with seeded(0), quiet():
            self._env.reset(seed=0)  # so that the answer does not depend on the calls before
            relabel_dataset(self._id, self._env, rows)
        rewards, masks = rows["rewards"], rows["masks"]
        return (-(rewards != 0).astype(np.float32) if self._sparse else rewards), masks

    def close(self) -> None:
        self._env.close()
