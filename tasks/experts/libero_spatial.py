"""libero_spatial, task 0: the black bowl between the plate and the ramekin, onto the plate."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import OPEN, Pose, Script, ScriptedExpert

#: The bowl is too wide for the hand, so one finger goes inside: the rim's radius and the grasp's height, metres.
_RIM = 0.046
_GRASP_HEIGHT = 0.038
#: The plate and the ramekin are in front of and behind the bowl.
_SIDES = (-0.5 * np.pi, 0.5 * np.pi, -0.35 * np.pi)
_LIFT = 0.12
#: LIBERO's predicate `On`: the bowl touches the plate and their centres are at most this far apart, metres.
_DONE_DISTANCE = 0.03
_DONE_HEIGHT = 0.03


class LiberoSpatialExpert(ScriptedExpert):
    """Takes the bowl by its rim, carries it over and sets it down in the middle of the plate."""

    #: Where to grasp the rim, by the style's mode, as world angles.
    sides = _SIDES
    #: How much higher the goal is than the bowl's start, metres.
    climb = 0.0
    reach = 0.09
    min_width = 0.001
    longer_squeeze = 8
    clumsiness = 1.6

    @property
    def plate(self) -> np.ndarray:
        """World position (3,) of the plate, metres."""
        return self.observation["object"][10:13].astype(float)

    def grasp_pose(self) -> Pose:
        side = self.sides[self.style.mode]
        rim = np.array([_RIM * np.cos(side), _RIM * np.sin(side), _GRASP_HEIGHT])
        return self.object_position + rim, side - 0.5 * np.pi

    def place(self) -> Script:
        yaw = self.hand_yaw
        start = self.hand + np.array([0.0, 0.0, _LIFT + self.climb])
        off_centre = np.array([*(0.3 * np.array(self.style.place_offset)), 0.0])
        length = float(np.linalg.norm(self.plate - self.object_position)) + _LIFT

        def let_go() -> bool:
            return self.lets_go(1.0 - float(np.linalg.norm(self.plate - self.object_position)) / length)

        def over(height: float) -> Pose:
            """The hand's pose that puts the bowl's centre `height` above the plate's."""
            goal = self.plate + off_centre + np.array([0.0, 0.0, height])
            return self.hand + goal - self.object_position, yaw

        yield from self.go(lambda: (start, yaw), tolerance=0.03, limit=40, until=self.lost)
        yield from self.go(lambda: over(_LIFT), tolerance=0.015, limit=60, until=let_go)
        if not let_go():
            yield from self.go(lambda: over(0.0), tolerance=0.008, limit=40, until=self.lost, speed=0.5)
        self.grip = OPEN
        yield from self.wait(6)

    def done(self) -> bool:
        aside = self.object_position - self.plate
        return bool(np.linalg.norm(aside[:2]) < _DONE_DISTANCE) and aside[2] < _DONE_HEIGHT
