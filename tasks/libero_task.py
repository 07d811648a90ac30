"""A LIBERO task as a `Task`: it starts from the published init states, settled as in published evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.libero_files import PACKAGE, task_files
from tasks.libero_scene import build_scene
from tasks.libero_suites import INIT_STATES, LiberoSuite
from tasks.packages import LIBERO_ASSETS
from tasks.panda_task import PandaTask
from tasks.task import EpisodeKey

#: Control steps for which LIBERO's own evaluations let objects settle.
_SETTLE_STEPS = 10
#: Standard deviation of the arm's joints at the start, rad: robosuite's default, which matches the init states.
_ARM_SCATTER = 0.02
#: Attempts at drawing all placements before giving up; the first almost always succeeds.
_PLACEMENT_TRIES = 100


class LiberoTask(PandaTask):
    """One of LIBERO's 130 tasks (Liu et al. 2023, arXiv 2306.03310) or of LIBERO-PRO's 160, by suite and index.

    Starts: `env_seed` 0 to 49 selects that init state of the task's init file; published success rates are measured
    on these. A larger `env_seed` draws a start from the BDDL file's distribution, as LIBERO's demonstrations did, so
    that training can avoid the published starts. Either way `env_seed` also seeds the placement of fixtures, which
    LIBERO draws at every reset and does not store in its init states. Ten steps with an open gripper and no motion
    follow.

    Observations: `object` holds, for each of the BDDL file's objects of interest in the file's order, its position
    (3,) m, quaternion xyzw (4,), vector to the gripper (3,) m and joints (m, rad); see `interests`.
    Task 0 of libero_spatial: the bowl, the plate (20,); of libero_object: the soup, the basket (20,); of
    libero_goal: the middle drawer's handle, then the drawer's slide, 0 when closed and -0.16 m when open (11,).

    Raises TaskError for an index that does not exist, for missing packages or assets, and as `PandaTask`.
    """

    settling = np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0], (_SETTLE_STEPS, 1))
    packages = (*PandaTask.packages, PACKAGE, *LIBERO_ASSETS)
    published_starts = INIT_STATES

    def __init__(self, name: str, suite: LiberoSuite, index: int = 0, stepping: str = "fast") -> None:
        files = task_files(suite, index)
        env = build_scene(files.bddl, suite.max_steps)
        self._init_states = np.load(files.init_states)["states"]  # (50, 1 + nq + nv): time, qpos, qvel
        from tasks.libero_interests import interests  # loads mujoco, which build_scene imports without GL

        self._interests = interests(env)
        self._site_colours = env.sim.model.site_rgba.copy()
        instruction = " ".join(env.parsed_problem["language_instruction"])
        super().__init__(name, instruction, suite.max_steps, env, stepping)

    def _object(self) -> np.ndarray:
        eef_pos = self._data.site_xpos[self._env.robots[0].eef_site_id]
        return np.concatenate([interest.observe(self._data, eef_pos) for interest in self._interests])

    def _start(self, key: EpisodeKey) -> None:
        env: Any = self._env
        published = key.env_seed < INIT_STATES
        # LIBERO replays its init states without noise; noise would shift the rest pose that the controller keeps.
        env.robots[0].initialization_noise["magnitude"] = 0.0 if published else _ARM_SCATTER
        env.sim.model.site_rgba[:] = self._site_colours
        self._place()
        if published:
            env.sim.forward()
            env.sim.set_state_from_flattened(self._init_states[key.env_seed])

    def _place(self) -> None:
        """Draw all placements, again if objects do not fit beside each other, which happens occasionally."""
        from robosuite.utils.errors import RandomizationError

        for left in reversed(range(_PLACEMENT_TRIES)):
            try:
                self._env._reset_internal()
                return
            except RandomizationError:
                if not left:
                    raise
                self._env.sim.reset()

    def _judged(self) -> tuple[bool, float | None]:
        """Success is that all predicates of the BDDL file's goal hold, as in LIBERO's own check."""
        env: Any = self._env
        held = [bool(env._eval_predicate(predicate)) for predicate in env.parsed_problem["goal_state"]]
        return all(held), sum(held) / len(held)

    def _refresh(self) -> None:
        super()._refresh()
        # A site's colour shows whether a stove is on.
        self._env._post_process()
