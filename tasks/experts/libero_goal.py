"""libero_goal, task 0: open the cabinet's middle drawer by its handle."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from tasks.experts.scripted import CLOSED, DOWN, OPEN, Pose, Script, ScriptedExpert

#: Tilt from pointing straight down, radians. The hand lies nearly flat, fingers towards the cabinet, one above and one
#: below the handle: the handles above and below leave no room for a hand that points down.
_TILT = -1.35
#: The drawers come out along the world's y axis.
_OUT = np.array([0.0, 1.0, 0.0])
#: LIBERO's predicate `Open` holds when the slide joint is below this, metres.
_OPEN_SLIDE = -0.14
_PULL = 0.19


class LiberoGoalExpert(ScriptedExpert):
    """Lays the hand flat in front of the handle, moves in, closes and pulls. A pose's angle is a tilt, not a yaw."""

    reach = 0.04
    min_width = 0.008

    @property
    def slide(self) -> float:
        """The drawer's slide joint, metres: 0 when shut, negative when open."""
        return float(self.observation["object"][10])

    def _turn_to(self, yaw: float) -> np.ndarray:
        """As in the base class, but for a tilt about the world's x axis: 0 points down, -pi/2 along -y."""
        now = Rotation.from_quat(self.observation["robot0_eef_quat"])
        return (Rotation.from_euler("x", yaw) * DOWN * now.inv()).as_rotvec()

    def grasp_pose(self) -> Pose:
        along = (-0.008, 0.0, 0.008)[self.style.mode]
        return self.object_position + np.array([along, 0.0, 0.0]), _TILT

    def pick(self) -> Script:
        """Stop in front of the handle, move in, close, and wait for the fingers."""
        self.grip = OPEN
        style = self.style
        offset, tilt = np.array(style.grasp_offset), _TILT + 0.5 * style.grasp_yaw

        def before(distance: float) -> Pose:
            return self.grasp_pose()[0] + offset + distance * _OUT, tilt

        yield from self.go(lambda: before(0.10 + style.hover), tolerance=0.03)
        if style.close_early:
            yield from self.go(lambda: before(style.close_early), tolerance=0.01, limit=40)
            self.grip = CLOSED
        yield from self.go(lambda: before(0.0), tolerance=0.008, limit=40)
        self.grip = CLOSED
        yield from self.wait(style.squeeze)

    def place(self) -> Script:
        shut = self.slide

        def let_go() -> bool:
            return self.lets_go((shut - self.slide) / -_OPEN_SLIDE)

        goal = self.hand + _PULL * _OUT
        yield from self.go(lambda: (goal, _TILT), tolerance=0.01, limit=80, until=let_go)
        self.grip = OPEN
        yield from self.wait(5)

    def rise(self, height: float) -> Script:
        """Move away from the cabinet, not up: the next handle is there."""
        target = self.hand + height * _OUT
        yield from self.go(lambda: (target, _TILT), tolerance=0.02, limit=20)

    def done(self) -> bool:
        return self.slide < _OPEN_SLIDE
