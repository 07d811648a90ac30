"""The base of robosuite's and LIBERO's tasks: one Panda under OSC_POSE at 20 Hz, its environment built once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from tasks.packages import versions
from tasks.proprioception import proprioception
from tasks.random_state import seeded
from tasks.saved_simulation import SavedSimulation, restore_simulation, save_simulation
from tasks.simulated_task import Advanced, SimulatedTask
from tasks.stepping import make_stepper
from tasks.task import ArraySpec, EpisodeKey, TaskSpec

CONTROL_HZ = 20
ACTION = ArraySpec((7,), low=-1.0, high=1.0)
CAMERAS = ("agentview", "robot0_eye_in_hand")


class PandaTask(SimulatedTask):
    """A `Task` over a built environment; a subclass defines `object` and where an episode starts.

    An action is (7,) in [-1, 1]: 3 translation deltas (1 = 5 cm), 3 rotation deltas (axis-angle, 1 = 0.5 rad),
    both in the world frame, then the gripper (negative opens, positive closes). The reward is sparse: 1 at success,
    else 0.

    Observations: the vectors of `tasks.proprioception` and `object`, which each subclass documents, as float32; the
    images "agentview_image" and "robot0_eye_in_hand_image", (size, size, 3) uint8; "instruction", a string. All show
    the state after the last substep; stock robosuite returns the state after the first, which is 48 ms older.

    `state_hash` is of the simulator's state without time, the body poses and the sizes of geoms that can collide.

    Raises TaskError for an unknown stepping and as `SimulatedTask`, and FloatingPointError if the simulation diverges.
    """

    #: Actions (n, 7) executed between a start and the first observation.
    settling = np.zeros((0, *ACTION.shape))
    #: Packages whose versions the simulation depends on.
    packages: tuple[str, ...] = ("mujoco", "robosuite")
    #: How far the hand moves and turns for an action, relative to what is documented above.
    gain = 1.0
    #: How many starts the benchmark publishes.
    published_starts: int | None = None

    def __init__(self, name: str, instruction: str, max_steps: int, env: Any, stepping: str) -> None:
        import mujoco  # after load_robosuite, which imports it without GL

        super().__init__()
        self._update_poses = mujoco.mj_kinematics
        self._env = env
        self._model = env.sim.model._model
        self._data = env.sim.data._data
        self._stepper = make_stepper(env, stepping)
        self._model_poses = (self._model.body_pos.copy(), self._model.body_quat.copy())
        self._colliding = colliding_geoms(self._model)
        self._vectors = {**proprioception(env), "object": self._object}
        self.spec = TaskSpec(
            name=name,
            instruction=instruction,
            max_steps=max_steps,
            control_hz=CONTROL_HZ,
            action=ACTION,
            observations={name: ArraySpec(read().shape) for name, read in self._vectors.items()},
            cameras=CAMERAS,
            published_starts=self.published_starts,
            packages=versions(self.packages),
        )

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def _object(self) -> np.ndarray:
        """The current `object` observation."""

    def _start(self, key: EpisodeKey) -> None:
        """Place everything where the key's episode starts; the global generators are seeded with `env_seed`."""
        self._env._reset_internal()

    def _judged(self) -> tuple[bool, float | None]:
        """Whether the task is solved, and the share of its goal's predicates that hold; None if it has none."""
        return bool(self._env._check_success()), None

    def _refresh(self) -> None:
        """Update what is read between steps: mj_step leaves poses as they were before it integrated."""
        self._update_poses(self._model, self._data)

    # The simulation --------------------------------------------------------------------------------------

    def _begin(self, key: EpisodeKey) -> None:
        env = self._env
        self._model.body_pos[:], self._model.body_quat[:] = self._model_poses
        env.sim.reset()
        # robosuite's soft reset does not reset the gripper's ramped command.
        env.robots[0].gripper.current_action = np.zeros(env.robots[0].gripper.dof)
        with seeded(key.env_seed):
            self._start(key)
        env.sim.forward()
        self._stepper.reset()
        for action in self.settling:
            self._stepper.step(action)
        self._refresh()

    def _advance(self, action: np.ndarray) -> Advanced:
        action[:-1] *= self.gain
        self._stepper.step(action)
        self._refresh()
        success, goals_met = self._judged()
        return Advanced(float(success), success, ended=success, goals_met=goals_met)

    def _hashed(self) -> tuple[np.ndarray, ...]:
        data, model = self._data, self._model
        return (
            *(data.qpos, data.qvel, data.act, data.mocap_pos, data.mocap_quat),
            *(model.body_pos, model.body_quat, model.geom_size[self._colliding]),
        )

    def _save(self) -> SavedSimulation:
        return save_simulation(self._env)

    def _restore(self, simulation: SavedSimulation) -> None:
        restore_simulation(self._env, simulation)
        self._refresh()

    def _free(self) -> None:
        self._env.close()


def colliding_geoms(model: Any) -> np.ndarray:
    """Which geoms can collide, (ngeom,) bool. The others are only visual."""
    colliding: np.ndarray = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding[model.pair_geom1] = colliding[model.pair_geom2] = True
    return colliding
