"""Lift: raise the cube from the table."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import OPEN, Pose, Script, ScriptedExpert, nearest

_DONE_HEIGHT = 0.84  # robosuite's Lift: 4 cm above the table
_RAISE = 0.1
_DROP = 0.02  # a sloppy hand loses the cube below this height above its start


class LiftExpert(ScriptedExpert):
    """Grasps the cube by two opposite faces and raises it."""

    clumsiness = 1.8

    def grasp_pose(self) -> Pose:
        # The hand grasps the pair of faces nearest to its own yaw, or in mode 2 the other pair.
        yaw = nearest(self.object_yaw, 0.0, np.pi / 2.0)
        if self.style.mode == 2:
            yaw -= np.copysign(np.pi / 2.0, yaw)
        return self.object_position, yaw

    def place(self) -> Script:
        if self.style.release_at < 1.0:
            yield from self.rise(_DROP * self.style.release_at)
            self.grip = OPEN
            yield from self.wait(5)
        yield from self.rise(_RAISE)

    def done(self) -> bool:
        return bool(self.object_position[2] > _DONE_HEIGHT)
