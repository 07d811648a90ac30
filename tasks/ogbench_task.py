"""OGBench's tasks with one goal and a reward, as a `Task`: the arm's and the mazes'."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tasks.ogbench_domains import ARM, Domain
from tasks.ogbench_import import build_environment, quiet
from tasks.packages import versions
from tasks.random_state import seeded
from tasks.simulated_task import Advanced, SimulatedTask
from tasks.task import ArraySpec, EpisodeKey, TaskSpec

#: MuJoCo's group 3 is not drawn anyway; it holds the arm's collision geometry.
_HIDDEN_GROUP = 3
#: Fields of the model that an environment changes within an episode, or between two.
_CHANGING = ("dof_damping", "geom_rgba", "mat_rgba", "site_pos", "geom_pos")
_PACKAGES = ("mujoco", "ogbench", "dm_control", "gymnasium")


class _Simulation(NamedTuple):
    """`data`: a whole MjData, as the next step reads poses that are a substep old. `attributes`: of the environment."""

    data: Any
    model: dict[str, np.ndarray]
    attributes: dict[str, Any]


class OGBenchTask(SimulatedTask):
    """One of OGBench's tasks (release 1.2.2; Park et al. 2025, arXiv 2410.20092): its physics, reward, success, limit.

    The environment is `<domain>-singletask-task<index>-v0`. Its reward, success, met goals and end are those of the
    state BEFORE the action, so an episode ends one step after its goal is reached. `sparse`: the reward is -1 wherever
    OGBench's is not 0, else 0.

    Observations, float32: `state`, OGBench's own observation, scaled as in its published data; `qpos` and `qvel`,
    MuJoCo's; `button_states` (buttons,) in {0, 1}, where there are buttons. Images show what OGBench's cameras see, a
    substep before the state, as its own pictures do.

    `state_hash` is of qpos, qvel, the goal and the buttons. Raises TaskError if OGBench cannot be imported, and as
    `SimulatedTask`, and FloatingPointError if the simulation diverges.
    """

    hidden_group = _HIDDEN_GROUP
    #: Attributes of the environment that a step changes, where it has them.
    _changing: tuple[str, ...] = ()
    #: The environment's attribute that holds its MjData.
    _holder = "data"

    def __init__(self, name: str, domain: Domain, index: int, sparse: bool = False) -> None:
        super().__init__()
        self._env = env = build_environment(domain.name, index)
        import mujoco  # after build_environment, which imports it without GL

        self._mujoco = mujoco
        self._model, self._data, self._sparse = env.model, env.data, sparse
        self._vectors: dict[str, Callable[[], np.ndarray]] = {
            "state": self._state,
            "qpos": lambda: self._data.qpos,
            "qvel": lambda: self._data.qvel,
        }
        if hasattr(env, "_cur_button_states"):
            self._vectors["button_states"] = lambda: env._cur_button_states
        self.spec = TaskSpec(
            name=name,
            instruction=domain.instructions[index - 1],
            max_steps=domain.max_steps,
            control_hz=domain.robot.control_hz,
            action=ArraySpec((domain.robot.action_size,), low=-1.0, high=1.0),
            observations={name: ArraySpec(read().shape) for name, read in self._vectors.items()},
            cameras=domain.robot.cameras,
            packages=versions(_PACKAGES),
            reward_range=(-1.0 if sparse else self._least_reward(), 0.0),
        )

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def _state(self) -> np.ndarray:
        """OGBench's observation."""

    @abstractmethod
    def _judged(self) -> tuple[float, bool]:
        """OGBench's reward and success of the present state."""

    def _least_reward(self) -> float:
        """OGBench's least reward."""
        return -1.0

    def _goals_met(self, reward: float) -> float | None:
        """The share of the goal's parts that OGBench's reward counts as satisfied; None if it counts none."""
        return None

    @abstractmethod
    def _move(self, action: np.ndarray) -> None:
        """Advance the physics by a control step."""

    @abstractmethod
    def _goal(self) -> np.ndarray:
        """What of the goal differs between starts."""

    # The simulation --------------------------------------------------------------------------------------

    def _begin(self, key: EpisodeKey) -> None:
        with seeded(key.env_seed), quiet():
            self._env.reset(seed=key.env_seed)

    def _advance(self, action: np.ndarray) -> Advanced:
        reward, success = self._judged()
        before = self._data.time
        self._move(action)
        # MuJoCo resets everything when the state is not finite, and only writes a line to a log file.
        if not self._data.time > before:
            raise FloatingPointError(f"the simulation diverged and MuJoCo reset it, {before:.3f} s into the episode")
        given = -float(reward != 0) if self._sparse else reward
        return Advanced(given, success, ended=success, goals_met=self._goals_met(reward))

    def _hashed(self) -> tuple[np.ndarray, ...]:
        data = self._data
        buttons = getattr(self._env, "_cur_button_states", np.zeros(0))
        return data.qpos, data.qvel, data.act, data.mocap_pos, data.mocap_quat, buttons, self._goal()

    def _save(self) -> _Simulation:
        attributes = {name: getattr(self._env, name) for name in self._changing if hasattr(self._env, name)}
        model = {name: getattr(self._model, name).copy() for name in _CHANGING}
        return _Simulation(copy.copy(self._data), model, copy.deepcopy(attributes))

    def _restore(self, simulation: _Simulation) -> None:
        self._data = copy.copy(simulation.data)
        setattr(self._env, self._holder, self._data)
        for name, values in simulation.model.items():
            getattr(self._model, name)[...] = values
        for name, value in copy.deepcopy(simulation.attributes).items():
            setattr(self._env, name, value)

    def _free(self) -> None:
        self._env.close()


class ArmTask(OGBenchTask):
    """Cubes, a scene with drawer and window, or a puzzle of buttons, with a UR5e arm.

    An action is (5,) in [-1, 1]: the hand's shift (1 = 5 cm), its turn about the vertical (1 = 0.3 rad), and the
    gripper's closing (1 = from open to closed), relative to where they are. The reward is the number of satisfied
    parts (cubes, buttons, drawer, window) minus the number of all. At a start, OGBench leaves the commands and the
    solver's warm start of two to five random steps behind, which no seed determines; here they are cleared.
    """

    _holder = "_data"
    _changing = (
        "_success", "_prev_qpos", "_prev_qvel", "_prev_ob_info", "_cur_button_states", "_prev_button_states"
    )  # fmt: skip

    def _begin(self, key: EpisodeKey) -> None:
        super()._begin(key)
        clear_unseeded(self._model, self._data)

    def _state(self) -> np.ndarray:
        state: np.ndarray = self._env.compute_observation()
        return state

    def _judged(self) -> tuple[float, bool]:
        return float(self._env.compute_reward()), bool(self._env._success)

    def _least_reward(self) -> float:
        env = self._env
        others = 2 if hasattr(env, "_target_drawer_pos") else 0  # the drawer and the window
        return -float(getattr(env, "_num_cubes", 0) + getattr(env, "_num_buttons", 0) + others)

    def _goals_met(self, reward: float) -> float:
        return 1.0 - reward / self._least_reward()

    def _move(self, action: np.ndarray) -> None:
        """OGBench's `step` without the observations that it computes."""
        env = self._env
        env.set_control(action)
        env.pre_step()
        self._mujoco.mj_step(self._model, self._data, nstep=env._n_steps)
        self._mujoco.mj_rnePostConstraint(self._model, self._data)  # the contact forces that `state` holds
        env.post_step()

    def _goal(self) -> np.ndarray:
        return np.asarray(getattr(self._env, "_target_button_states", ()))


class MazeTask(OGBenchTask):
    """An ant or a humanoid walks through a maze, or an ant moves a ball.

    An action is the torques of the joints, relative to the most that each can exert. The reward is 0 at the goal, else
    -1. Goals are where OGBench puts them, starts are scattered by up to 1 m.
    """

    def _state(self) -> np.ndarray:
        state: np.ndarray = self._env.get_ob()
        return state

    def _judged(self) -> tuple[float, bool]:
        success = bool(self._env.compute_success())
        return float(success) - 1.0, success

    def _move(self, action: np.ndarray) -> None:
        self._env.do_simulation(action, self._env.frame_skip)

    def _goal(self) -> np.ndarray:
        return np.asarray(self._env.cur_goal_xy)

    def _view(self, camera: str) -> Any:
        """OGBench's own view from above is a free camera; "back", which follows the robot, is one of the model's."""
        return self._env.custom_camera if camera == "top" else camera


def clear_unseeded(model: Any, data: Any) -> None:
    """Clear what OGBench's reset of an arm's scene leaves to chance, and derive the rest from the state again."""
    import mujoco  # after build_environment, which imports it without GL

    data.ctrl[:] = 0.0
    data.qacc_warmstart[:] = 0.0
    mujoco.mj_forward(model, data)
    mujoco.mj_rnePostConstraint(model, data)


def build(name: str, domain: Domain, index: int, sparse: bool = False) -> OGBenchTask:
    """The task of a domain; `index` 1 to 5. Compiles the model, which takes a second."""
    return (ArmTask if domain.robot == ARM else MazeTask)(name, domain, index, sparse)
