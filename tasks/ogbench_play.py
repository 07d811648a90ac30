"""Play of OGBench's oracles with the arm, the way its published play data were made."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.ogbench_domains import ARM, Domain
from tasks.ogbench_import import load_ogbench, quiet
from tasks.random_state import seeded
from tasks.robosuite_import import without_gl
from tasks.task import TaskError

#: Of the published play data: the plans' noise, a share of the largest action, and its smoothing over time steps.
_NOISE = {"noise": 0.1, "noise_smoothing": 0.5}
#: By number of cubes, the range that an episode's probability of stacking is drawn from.
_STACKING = {
    "cube-single": (0.0, 0.0),
    "cube-double": (0.0, 0.25),
    "cube-triple": (0.05, 0.35),
    "cube-quadruple": (0.1, 0.5),
    "cube-octuple": (0.0, 0.35),
}
#: Where the scene's cube may be: not right of it, and left of the other only inside the drawer, at these heights (m).
_CUBE_RIGHT, _CUBE_LEFT, _DRAWER = 0.29, -0.3, (0.06, 0.08)
_CUBE = slice(14, 17)
_MOST_TRIES = 100


class OraclePlay:
    """Episodes of an arm's domain in which an oracle follows noisy plans to one random target after another.

    Nothing is rewarded, and no episode ends early. The scene's episodes in which its cube gets lost are played again,
    as OGBench does. Raises TaskError for a domain without an arm, and if OGBench cannot be imported.
    """

    def __init__(self, domain: Domain) -> None:
        if domain.robot != ARM:
            raise TaskError(f"env is {domain.name!r}; accepted: a domain of cubes, scene or puzzles: no oracle walks")
        self._domain = domain
        with without_gl(), quiet():
            made = load_ogbench().make(
                f"{domain.name}-v0", terminate_at_goal=False, mode="data_collection", disable_env_checker=True
            )
        self._env: Any = made.unwrapped
        self._oracles = _oracles(self._env, domain.name)

    def episode(self, seed: int, number: int, steps: int) -> dict[str, np.ndarray]:
        """Episode `number` of `seed`, which alone determine it: `steps` transitions, so `steps` + 1 rows.

        `observations`, `actions`, `qpos`, `qvel` float32, `terminals` bool, True in the last row, and with buttons
        `button_states` int64, all before the row's action: the arrays of OGBench's files.
        """
        for attempt in range(_MOST_TRIES):
            drawn = np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0]
            with seeded(int(drawn)), quiet():
                rows = self._played(int(drawn), steps)
            if self._domain.name != "scene" or _cube_stays(rows["qpos"][:, _CUBE]):
                return rows
        raise TaskError(f"env is {self._domain.name!r}: its cube got lost in {_MOST_TRIES} episodes in a row")

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()

    def _played(self, seed: int, steps: int) -> dict[str, np.ndarray]:
        env = self._env
        observation, info = env.reset(seed=seed)
        p_stack = np.random.uniform(*_STACKING.get(self._domain.name, (0.5, 0.5)))  # noqa: NPY002 - as the oracles
        oracle = self._planned(observation, info)
        rows: dict[str, list[Any]] = {"observations": [], "actions": [], "qpos": [], "qvel": []}
        if "button_states" in info:
            rows["button_states"] = []
        for _ in range(steps + 1):
            action = np.clip(oracle.select_action(observation, info), -1.0, 1.0)
            rows["observations"].append(observation)
            rows["actions"].append(action)
            observation, _, _, _, info = env.step(action)
            for name in rows.keys() - {"observations", "actions"}:
                rows[name].append(info[f"prev_{name}"])
            if oracle.done:
                oracle = self._planned(*env.set_new_target(p_stack=p_stack))
        whole = {
            name: np.array(values, np.int64 if name == "button_states" else np.float32) for name, values in rows.items()
        }
        return {**whole, "terminals": np.arange(steps + 1) == steps}

    def _planned(self, observation: np.ndarray, info: dict[str, Any]) -> Any:
        oracle = self._oracles[info["privileged/target_task"]]
        oracle.reset(observation, info)
        return oracle


def _oracles(env: Any, domain: str) -> dict[str, Any]:
    """The oracles of the domain's kinds of target."""
    from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
    from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle
    from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle

    if domain.startswith("puzzle"):
        return {"button": ButtonPlanOracle(env=env, gripper_always_closed=True, **_NOISE)}
    kinds = {"cube": CubePlanOracle, "button": ButtonPlanOracle, "drawer": DrawerPlanOracle, "window": WindowPlanOracle}
    names = kinds if domain == "scene" else ("cube",)
    return {name: kinds[name](env=env, **_NOISE) for name in names}


def _cube_stays(places: np.ndarray) -> bool:
    """Whether the cube, at `places` (n, 3) m, is always in sight or in the drawer."""
    side, height = places[:, 1], places[:, 2]
    outside = (height < _DRAWER[0]) | (height > _DRAWER[1])
    return not bool((side >= _CUBE_RIGHT).any() or ((side <= _CUBE_LEFT) & outside).any())
