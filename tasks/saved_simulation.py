"""The whole state of a robosuite simulation in mid-episode: MuJoCo's, the controller's, the gripper's, the clock's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: What a controller keeps as values; the rest of its attributes are the simulation, and lists of indices.
_VALUES = (np.ndarray, int, float, type(None))


@dataclass(frozen=True, eq=False)
class SavedSimulation:
    """`physics`: MuJoCo's integration state, (n,). `attributes`: name to value, of each of `_parts`."""

    physics: np.ndarray
    attributes: tuple[dict[str, Any], ...]


def save_simulation(env: Any) -> SavedSimulation:
    """Copy what the next control step depends on. Takes some 0.02 ms."""
    import mujoco  # late: load_robosuite, which has built the environment, imports it without GL

    model, kind = env.sim.model._model, mujoco.mjtState.mjSTATE_INTEGRATION
    physics = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, env.sim.data._data, physics, kind)
    attributes = tuple({name: _copy(getattr(part, name)) for name in names} for part, names in _parts(env))
    return SavedSimulation(physics, attributes)


def restore_simulation(env: Any, saved: SavedSimulation) -> None:
    """Go back to `saved`, which is of this episode.

    Derived quantities (poses, contacts, sensors) stay as they are until the next step, which computes them first, or a
    forward pass. A forward pass here would change nothing but the solver's warm start, which is part of the state.
    """
    import mujoco

    mujoco.mj_setState(env.sim.model._model, env.sim.data._data, saved.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
    for (part, _), attributes in zip(_parts(env), saved.attributes, strict=True):
        for name, value in attributes.items():
            present = getattr(part, name)
            if isinstance(value, np.ndarray) and isinstance(present, np.ndarray) and present.shape == value.shape:
                present[...] = value  # in place: the compiled step writes to this very array
            else:
                setattr(part, name, _copy(value))


def _parts(env: Any) -> list[tuple[Any, list[str]]]:
    """robosuite's objects that a control step changes, and which of their attributes.

    Of the controller all values: right after a reset it still uses poses and inertia from before. A task's record of
    what has succeeded and robosuite's observables are computed before each use; its `recent_*` buffers are not read.
    """
    robot = env.robots[0]
    control = robot.controller
    interpolators = [one for one in (control.interpolator_pos, control.interpolator_ori) if one is not None]
    return [
        (env, ["timestep", "cur_time"]),
        (robot, ["torques"]),
        (robot.gripper, ["current_action"]),
        *((part, [name for name, value in vars(part).items() if isinstance(value, _VALUES)]) for part in interpolators),
        (control, [name for name, value in vars(control).items() if isinstance(value, _VALUES)]),
    ]


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
