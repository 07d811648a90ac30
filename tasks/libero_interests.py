"""The poses and joints of a LIBERO task's objects of interest, as its BDDL file lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from tasks.proprioception import xyzw

_BODY, _SITE, _GEOM = mujoco.mjtObj.mjOBJ_BODY, mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_GEOM
_SLIDE, _HINGE = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)


@dataclass(frozen=True)
class Interest:
    """Where one object's pose is read: the kind (body, site or geom) and index, and its joints' indices in qpos."""

    kind: mujoco.mjtObj
    index: int
    joints: np.ndarray  # (j,) slides and hinges

    def observe(self, data: Any, eef_pos: np.ndarray) -> np.ndarray:
        """(10 + j,): position (m), quaternion xyzw, vector from the object to the gripper (m), joints (m or rad)."""
        if self.kind == _BODY:
            pos, quat = data.xpos[self.index], data.xquat[self.index]
        else:
            site = self.kind == _SITE
            pos = (data.site_xpos if site else data.geom_xpos)[self.index]
            quat = np.empty(4)
            mujoco.mju_mat2Quat(quat, (data.site_xmat if site else data.geom_xmat)[self.index])
        return np.concatenate([pos, xyzw(quat), eef_pos - pos, data.qpos[self.joints]])


def interests(env: Any) -> list[Interest]:
    """The BDDL file's `:obj_of_interest`, in the file's order.

    An object or fixture is read at its root body, a region at its site. A region inside a drawer is read at the
    drawer's handle, which a hand needs; the region's position follows from the handle and the joint.
    """
    return [_interest(env, name) for name in env.obj_of_interest]


def _interest(env: Any, name: str) -> Interest:
    model, interest = env.sim.model, env.get_object(name)
    joints = _slides_and_hinges(model, interest.joints or ())
    addresses = np.array([model.jnt_qposadr[joint] for joint in joints], dtype=int)
    if name not in env.object_sites_dict:
        return Interest(_BODY, model.body_name2id(interest.root_body), addresses)
    if joints and model.jnt_type[joints[0]] == _SLIDE:
        return Interest(_GEOM, _handle(model, joints[0]), addresses)
    return Interest(_SITE, model.site_name2id(name), addresses)


def _slides_and_hinges(model: Any, names: Sequence[str]) -> list[int]:
    joints = [model.joint_name2id(name) for name in names]
    return [joint for joint in joints if model.jnt_type[joint] in (_SLIDE, _HINGE)]


def _handle(model: Any, joint: int) -> int:
    """The drawer's outermost collision geom, in the direction in which its slide joint has the larger range."""
    low, high = model.jnt_range[joint]
    outward = model.jnt_axis[joint] * (1.0 if high > -low else -1.0)
    body = model.jnt_bodyid[joint]
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] == body and model.geom_contype[geom]]
    return max(geoms, key=lambda geom: float(model.geom_pos[geom] @ outward))
