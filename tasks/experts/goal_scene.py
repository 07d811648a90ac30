"""More tasks of LIBERO-Goal's scene: its bowl onto the stove (1), the cabinet (4) or the plate (8), and the cream
cheese into the bowl (6)."""

from __future__ import annotations

import numpy as np

from tasks.experts.libero_spatial import LiberoSpatialExpert
from tasks.experts.scripted import Pose, Script, ScriptedExpert

#: Where to grasp the bowl's rim, as world angles: the side away from the cabinet.
_SIDES = (0.5 * np.pi, 0.5 * np.pi, 0.4 * np.pi)
#: Heights of the hand above the bowl's root, metres: the cheese clears the rim, then falls in.
_CARRY_HEIGHT = 0.22
_RELEASE_HEIGHT = 0.13
_INSIDE = 0.05


class BowlOnPlateExpert(LiberoSpatialExpert):
    """Sets the bowl down in the middle of the plate, or of the stove's plate."""

    sides = _SIDES


class BowlOnCabinetExpert(BowlOnPlateExpert):
    """Lifts the bowl above the cabinet first."""

    climb = 0.22


class CreamCheeseExpert(ScriptedExpert):
    """Grasps the packet across its narrow side and drops it into the bowl."""

    reach = 0.05
    min_width = 0.01

    @property
    def bowl(self) -> np.ndarray:
        """World position (3,) of the bowl, metres."""
        return self.observation["object"][10:13].astype(float)

    def grasp_pose(self) -> Pose:
        return self.object_position, self.object_yaw

    def place(self) -> Script:
        height = float(self.bowl[2])
        yield from self.drop_at(self.bowl[:2], height + _CARRY_HEIGHT, height + _RELEASE_HEIGHT, tolerance=0.015)
        yield from self.wait(10)

    def done(self) -> bool:
        return bool(np.linalg.norm(self.object_position[:2] - self.bowl[:2]) < _INSIDE)
