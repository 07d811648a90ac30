"""robosuite's control step, with one forward pass per substep and a compiled controller: same numbers, faster.

robosuite computes forward dynamics three times per substep and observables 25 times per step, and its controller makes
many small numpy calls. Here a control step is two calls into `tasks.osc`, which spend almost all their time in
MuJoCo's own `mj_step`.

The results differ from robosuite's only by the rounding of the controller's linear algebra (1e-14 rad after 100
steps): forward passes do not touch the solver's warm start, so omitting them changes nothing. Contacts amplify
rounding, so long episodes can diverge eventually.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from tasks import osc
from tasks.stock_stepper import check_progress, substeps_of
from tasks.task import TaskError


class FastStepper:
    """A `Stepper` for one Panda with its gripper under OSC_POSE.

    The controller's goal, the fingers' command and the torques are arrays shared with robosuite's own objects, so
    robosuite's step can take over at any time. Its observables and `robot.recent_*` buffers are not updated. Raises
    TaskError for an environment that `tasks.osc` does not reproduce, and for an action that is not 7 finite numbers.
    """

    def __init__(self, env: Any) -> None:
        _check(env)
        self._env = env
        self.reset()

    def reset(self) -> None:
        self._substeps = substeps_of(self._env)
        # References keep both alive: the compiled step knows only their addresses.
        self._model, self._data = self._env.sim.model._model, self._env.sim.data._data
        self._option = self._model.opt
        # A drawing aid whose buffer, as long as all meshes together, MuJoCo clears in every substep.
        self._model.vis.global_.bvactive = 0
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)
        self._bind()

    def step(self, action: np.ndarray) -> None:
        action = np.ascontiguousarray(action, dtype=np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise TaskError(f"action is {action.tolist()}; accepted: 7 finite numbers")
        before, flags = self._data.time, self._option.disableflags
        try:
            # No sensor affects the physics, and only the last substep's sensors can be read.
            self._option.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
            self._advance(action, 0, self._substeps - 1)
        finally:
            self._option.disableflags = flags
        self._advance(action, self._substeps - 1, self._substeps)
        check_progress(self._env, before)
        self._env.timestep += 1
        self._env.cur_time += self._env.control_timestep

    def _advance(self, action: np.ndarray, done: int, until: int) -> None:
        """Run substeps `done` to `until` (exclusive) of a control step.

        robosuite itself runs two kinds: the first after a reset, whose controller still uses the inertia from before
        the fingers were placed, and those in singular poses.
        """
        control = self._env.robots[0].controller
        while done < until:
            if control.new_update:
                done += osc.advance(self._arm, self._state, action, until - done, done == 0)
            if done < until:
                self._env.sim.forward()
                self._env._pre_action(action, done == 0)
                self._env.sim.step()
                self._bind()
                done += 1

    def _bind(self) -> None:
        """Point the compiled step at the current simulation, controller and gripper."""
        self._arm = _arm(self._env)
        self._state = _state(self._env)


def _check(env: Any) -> None:
    """Raise TaskError naming what `tasks.osc` does not reproduce."""
    if len(env.robots) != 1:
        raise TaskError(f"stepping is 'fast' with {len(env.robots)} robots; accepted: 1, or stepping=stock")
    robot = env.robots[0]
    control = robot.controller
    needed: dict[str, tuple[object, object]] = {
        "controller": (control.name, "OSC_POSE"),
        "gripper": (type(robot.gripper).__name__, "PandaGripper"),
    }
    if control.name == "OSC_POSE":
        interpolated = control.interpolator_pos is not None or control.interpolator_ori is not None
        limited = control.position_limits is not None or control.orientation_limits is not None
        needed |= {
            "impedance_mode": (control.impedance_mode, "fixed"),
            "control_delta": (bool(control.use_delta), True),
            "uncouple_pos_ori": (bool(control.uncoupling), True),
            "interpolation": ("on" if interpolated else "off", "off"),
            "position or orientation limits": ("on" if limited else "off", "off"),
            "at least 2 substeps": (substeps_of(env) >= 2, True),
        }
    for option, (value, accepted) in needed.items():
        if value != accepted:
            raise TaskError(f"stepping is 'fast' with {option} {value!r}; accepted: {accepted!r}, or stepping=stock")


def _arm(env: Any) -> osc.Arm:
    """The constants of this episode, read from robosuite's robot and controller."""
    robot, model, data = env.robots[0], env.sim.model, env.sim.data
    control = robot.controller
    fingers = np.array([model.actuator_name2id(name) for name in robot.gripper.actuators])
    ranges = model.actuator_ctrlrange[fingers]
    low, high = robot.torque_limits
    return osc.Arm(
        model=model._model._address,
        data=data._data._address,
        site=model.site_name2id(control.eef_name),
        qpos_index=np.array(control.qpos_index),
        dof_index=np.array(control.qvel_index),
        motor_index=np.array(robot._ref_joint_actuator_indexes),
        finger_index=fingers,
        torque_low=np.array(low),
        torque_high=np.array(high),
        finger_middle=0.5 * (ranges[:, 1] + ranges[:, 0]),
        finger_half=0.5 * (ranges[:, 1] - ranges[:, 0]),
        finger_step=float(robot.gripper.speed),
        input_low=np.array(control.input_min, dtype=np.float64),
        input_high=np.array(control.input_max, dtype=np.float64),
        input_middle=(control.input_max + control.input_min) / 2.0,
        output_scale=abs(control.output_max - control.output_min) / abs(control.input_max - control.input_min),
        output_middle=(control.output_max + control.output_min) / 2.0,
        stiffness=np.array(control.kp, dtype=np.float64),
        damping=np.array(control.kd, dtype=np.float64),
        rest=np.array(control.initial_joint),
    )


def _state(env: Any) -> osc.State:
    """Views of the simulation, and arrays shared with robosuite's objects."""
    robot, data = env.robots[0], env.sim.data._data
    control = robot.controller
    control.goal_pos, control.goal_ori = np.array(control.goal_pos), np.array(control.goal_ori)
    robot.gripper.current_action = np.broadcast_to(robot.gripper.current_action, 2).copy()
    robot.torques = np.zeros(len(control.qvel_index))
    return osc.State(
        qpos=data.qpos,
        qvel=data.qvel,
        bias=data.qfrc_bias,
        qm=data.qM,
        ctrl=data.ctrl,
        site_pos=data.site_xpos,
        site_mat=data.site_xmat,
        goal_pos=control.goal_pos,
        goal_mat=control.goal_ori,
        finger=robot.gripper.current_action,
        torque=robot.torques,
    )
