"""robosuite's operational-space arm controller and Panda gripper, compiled together with MuJoCo's step.

The maths is robosuite 1.4.0's `OSC_POSE` (fixed gains, deltas, position and orientation uncoupled; Khatib,
"A unified approach for motion and force control of robot manipulators", 1987). It differs in rounding only:
robosuite forms M^-1 and three pseudo-inverses, this file solves with Cholesky factors of the same matrices,
and leaves singular poses, where a pseudo-inverse is something else, to robosuite.

MuJoCo is called inside the compiled loop, by symbol, so a control step costs one call from Python. A change
in this file recompiles all of it, because numba's cache looks at the time stamp of this file alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import mujoco
import numpy as np
from numba import njit, types

from tasks.compile_cache import ensure_cache

ensure_cache()  # before the first function is marked

#: Pivots below this share of their diagonal are rounding noise: the arm's pose is singular.
SINGULAR = 1e-14
#: robosuite's `nullspace_torques` default gain, and critical damping for it.
NULLSPACE_STIFFNESS = 10.0
NULLSPACE_DAMPING = 2.0 * math.sqrt(NULLSPACE_STIFFNESS)

# mujoco has loaded this library already; naming it here lets compiled code, also from the cache, find it.
_library = next(f for f in Path(mujoco.__file__).parent.iterdir() if f.name.startswith(("libmujoco", "mujoco.dll")))
llvm.load_library_permanently(str(_library))
_pointer = types.uintp
_mj_step1: Any = types.ExternalFunction("mj_step1", types.void(_pointer, _pointer))
_mj_step2: Any = types.ExternalFunction("mj_step2", types.void(_pointer, _pointer))
_mj_full_m: Any = types.ExternalFunction("mj_fullM", types.void(_pointer, _pointer, _pointer))
_mj_jac_site: Any = types.ExternalFunction(
    "mj_jacSite", types.void(_pointer, _pointer, _pointer, _pointer, types.int32)
)


class Arm(NamedTuple):
    """The arm's constants within an episode. Angles in rad, lengths in m, torques in Nm."""

    model: int  # address of the mjModel
    data: int  # address of the mjData
    site: int  # the end effector's site
    qpos_index: np.ndarray  # (7,) of the arm's joints in qpos
    dof_index: np.ndarray  # (7,) in qvel
    motor_index: np.ndarray  # (7,) in ctrl
    finger_index: np.ndarray  # (2,) in ctrl
    torque_low: np.ndarray  # (7,)
    torque_high: np.ndarray  # (7,)
    finger_middle: np.ndarray  # (2,) centre of the fingers' control range
    finger_half: np.ndarray  # (2,) half its width
    finger_step: float  # change of the fingers' command, in [-1, 1], a substep
    input_low: np.ndarray  # (6,) range of the arm's action
    input_high: np.ndarray  # (6,)
    input_middle: np.ndarray  # (6,)
    output_scale: np.ndarray  # (6,) metres and radians for each unit of action
    output_middle: np.ndarray  # (6,)
    stiffness: np.ndarray  # (6,) kp
    damping: np.ndarray  # (6,) kd
    rest: np.ndarray  # (7,) joint angles that the nullspace term holds


class State(NamedTuple):
    """Live views of MuJoCo's data, and the controller's own state; all written in place."""

    qpos: np.ndarray  # (nq,)
    qvel: np.ndarray  # (nv,)
    bias: np.ndarray  # (nv,) qfrc_bias
    qm: np.ndarray  # (nM,) sparse inertia
    ctrl: np.ndarray  # (nu,)
    site_pos: np.ndarray  # (nsite, 3)
    site_mat: np.ndarray  # (nsite, 9)
    goal_pos: np.ndarray  # (3,)
    goal_mat: np.ndarray  # (3, 3)
    finger: np.ndarray  # (2,) the fingers' command in [-1, 1]
    torque: np.ndarray  # (7,) last command


@njit(cache=True)
def _factor(a: np.ndarray, start: int, stop: int, low: np.ndarray) -> bool:
    """Cholesky factor of a[start:stop, start:stop] into `low`; False if singular to rounding, or NaN."""
    for i in range(start, stop):
        for j in range(start, i + 1):
            total = a[i, j]
            for k in range(start, j):
                total -= low[i, k] * low[j, k]
            if i > j:
                low[i, j] = total / low[j, j]
            elif total > SINGULAR * a[i, i]:
                low[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit(cache=True)
def _solve(a: np.ndarray, start: int, stop: int, low: np.ndarray, x: np.ndarray) -> bool:
    """x[start:stop] <- a[start:stop, start:stop]^-1 x[start:stop]; `low` is scratch. False if singular."""
    if not _factor(a, start, stop, low):
        return False
    for i in range(start, stop):
        for k in range(start, i):
            x[i] -= low[i, k] * x[k]
        x[i] /= low[i, i]
    for i in range(stop - 1, start - 1, -1):
        for k in range(i + 1, stop):
            x[i] -= low[k, i] * x[k]
        x[i] /= low[i, i]
    return True


@njit(cache=True)
def rotation(vector: np.ndarray) -> np.ndarray:
    """(3,) axis times angle -> (3, 3). Rounds the quaternion to float32 where robosuite's `quat2mat` does."""
    angle = math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    q = np.empty(4, np.float32)
    q[0] = math.cos(angle / 2.0)
    for i in range(3):
        q[1 + i] = vector[i] / angle * math.sin(angle / 2.0)
    scale = math.sqrt(2.0 / np.dot(q, q))
    for i in range(4):
        q[i] = q[i] * scale
    w, x, y, z = q[0], q[1], q[2], q[3]
    out = np.empty((3, 3))
    out[0, 0], out[0, 1], out[0, 2] = 1.0 - y * y - z * z, x * y - z * w, x * z + y * w
    out[1, 0], out[1, 1], out[1, 2] = x * y + z * w, 1.0 - x * x - z * z, y * z - x * w
    out[2, 0], out[2, 1], out[2, 2] = x * z - y * w, y * z + x * w, 1.0 - x * x - y * y
    return out


@njit(cache=True)
def _set_goal(arm: Arm, state: State, action: np.ndarray) -> None:
    """The new goal: the present pose plus the action's delta; no rotation keeps the goal orientation."""
    delta = np.empty(6)
    for i in range(6):
        clipped = min(max(action[i], arm.input_low[i]), arm.input_high[i])
        delta[i] = (clipped - arm.input_middle[i]) * arm.output_scale[i] + arm.output_middle[i]
    for i in range(3):
        state.goal_pos[i] = state.site_pos[arm.site, i] + delta[i]
    if delta[3] != 0.0 or delta[4] != 0.0 or delta[5] != 0.0:
        turn = rotation(delta[3:])
        for i in range(3):
            for j in range(3):
                total = 0.0
                for k in range(3):
                    total += turn[i, k] * state.site_mat[arm.site, 3 * k + j]
                state.goal_mat[i, j] = total


@njit(cache=True)
def _acceleration(arm: Arm, state: State, jac: np.ndarray, out: np.ndarray) -> None:
    """out (6,) <- kp * pose error - kd * velocity; the angle error is half the sum of the axes' crosses."""
    mat, goal = state.site_mat[arm.site], state.goal_mat
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        turn = 0.0
        for c in range(3):
            turn += mat[3 * j + c] * goal[k, c] - mat[3 * k + c] * goal[j, c]
        out[i] = arm.stiffness[i] * (state.goal_pos[i] - state.site_pos[arm.site, i])
        out[3 + i] = arm.stiffness[3 + i] * 0.5 * turn
    for i in range(6):
        velocity = 0.0
        for k in range(arm.dof_index.size):
            velocity += jac[i, k] * state.qvel[arm.dof_index[k]]
        out[i] -= arm.damping[i] * velocity


@njit(cache=True)
def _task_inertia_inverse(mass: np.ndarray, jac: np.ndarray, out: np.ndarray) -> bool:
    """out (6, 6) <- J M^-1 J^T, as Y^T Y with L Y = J^T; False if M has no Cholesky factor (NaN)."""
    n = mass.shape[0]
    low, y = np.empty((n, n)), np.empty((n, 6))
    if not _factor(mass, 0, n, low):
        return False
    for i in range(n):
        for c in range(6):
            total = jac[c, i]
            for k in range(i):
                total -= low[i, k] * y[k, c]
            y[i, c] = total / low[i, i]
    for r in range(6):
        for c in range(r + 1):
            total = 0.0
            for k in range(n):
                total += y[k, r] * y[k, c]
            out[r, c] = total
            out[c, r] = total
    return True


@njit(cache=True)
def _torques(arm: Arm, state: State, jac: np.ndarray, mass: np.ndarray) -> bool:
    """state.torque <- J^T F + bias + nullspace term, clipped; False where a matrix is singular.

    F inverts the position and the orientation blocks of J M^-1 J^T apart (uncoupled). With
    Lambda = (J M^-1 J^T)^-1 and Jbar = M^-1 J^T Lambda, robosuite's nullspace term (I - Jbar J)^T M a is
    M a - J^T Lambda J a.
    """
    n = arm.dof_index.size
    inverse, scratch = np.empty((6, 6)), np.empty((6, 6))
    wrench, pull, rest = np.empty(6), np.zeros(6), np.empty(n)
    if not _task_inertia_inverse(mass, jac, inverse):
        return False
    _acceleration(arm, state, jac, wrench)
    if not (_solve(inverse, 0, 3, scratch, wrench) and _solve(inverse, 3, 6, scratch, wrench)):
        return False
    for k in range(n):
        offset = arm.rest[k] - state.qpos[arm.qpos_index[k]]
        rest[k] = NULLSPACE_STIFFNESS * offset - NULLSPACE_DAMPING * state.qvel[arm.dof_index[k]]
        for i in range(6):
            pull[i] += jac[i, k] * rest[k]
    if not _solve(inverse, 0, 6, scratch, pull):
        return False
    for k in range(n):
        total = state.bias[arm.dof_index[k]]
        for i in range(6):
            total += jac[i, k] * (wrench[i] - pull[i])
        for j in range(n):
            total += mass[k, j] * rest[j]
        state.torque[k] = min(max(total, arm.torque_low[k]), arm.torque_high[k])
    return True


@njit(cache=True)
def _command_fingers(arm: Arm, state: State, action: float) -> None:
    """Move the fingers' command a step towards open (-1) or closed (1); map it to their control range."""
    for i in range(2):
        side = -1.0 if i == 0 else 1.0
        moved = state.finger[i] + side * arm.finger_step * np.sign(action)
        state.finger[i] = min(max(moved, -1.0), 1.0)
        state.ctrl[arm.finger_index[i]] = arm.finger_middle[i] + arm.finger_half[i] * state.finger[i]


@njit(cache=True)
def advance(arm: Arm, state: State, action: np.ndarray, substeps: int, new_goal: bool) -> int:
    """Advance `substeps` of physics under one (7,) action, which sets a new goal in the first if `new_goal`.

    Between MuJoCo's two half steps the controller sees positions, inertia and bias of this substep, as in
    robosuite, where a whole forward pass precedes the controller. Returns the substeps done: fewer than asked
    where the arm's pose is singular, with time, positions and the fingers' command as the last one left them.
    """
    n, nv = arm.dof_index.size, state.qvel.size
    jac_site, inertia = np.zeros((6, nv)), np.empty((nv, nv))
    jac, mass = np.empty((6, n)), np.empty((n, n))
    for substep in range(substeps):
        _mj_step1(arm.model, arm.data)
        if new_goal and substep == 0:
            _set_goal(arm, state, action)
        _mj_jac_site(arm.model, arm.data, jac_site[0:3].ctypes.data, jac_site[3:6].ctypes.data, arm.site)
        _mj_full_m(arm.model, inertia.ctypes.data, state.qm.ctypes.data)
        for k in range(n):
            for i in range(6):
                jac[i, k] = jac_site[i, arm.dof_index[k]]
            for j in range(n):
                mass[k, j] = inertia[arm.dof_index[k], arm.dof_index[j]]
        if not _torques(arm, state, jac, mass):
            return substep
        for k in range(n):
            state.ctrl[arm.motor_index[k]] = state.torque[k]
        _command_fingers(arm, state, action[6])
        _mj_step2(arm.model, arm.data)
    return substeps


def is_compiled() -> bool:
    """Whether `advance` need not be compiled any more, which takes up to a minute: here or in numba's cache."""
    written = Path(__file__).stat().st_mtime
    stored = Path(str(advance.stats.cache_path)).glob(f"{Path(__file__).stem}.advance-*.nbi")
    return bool(advance.signatures) or any(index.stat().st_mtime > written for index in stored)
