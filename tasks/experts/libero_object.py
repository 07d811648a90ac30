"""libero_object, task 0: the alphabet soup into the basket."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import Pose, Script, ScriptedExpert

#: Height of the grasp above the can's middle, metres.
_GRASP_HEIGHT = 0.012
#: Heights of the hand above the floor, metres: the can clears the other groceries, then the basket's walls.
_CARRY_HEIGHT = 0.30
_RELEASE_HEIGHT = 0.23
#: The inside of the basket (LIBERO's `contain_region`), metres: half its width, and its top.
_INSIDE = 0.06
_INSIDE_HEIGHT = 0.14
#: A can is round, so any yaw will do; each style prefers one of these, radians.
_YAWS = (0.0, -0.6, 0.6)


class LiberoObjectExpert(ScriptedExpert):
    """Lifts the can out from among the groceries, carries it over the basket's wall and drops it."""

    reach = 0.05
    min_width = 0.02
    clumsiness = 1.2

    @property
    def basket(self) -> np.ndarray:
        """World position (3,) of the basket, metres."""
        return self.observation["object"][10:13].astype(float)

    def grasp_pose(self) -> Pose:
        return self.object_position + np.array([0.0, 0.0, _GRASP_HEIGHT]), _YAWS[self.style.mode]

    def place(self) -> Script:
        yield from self.drop_at(self.basket[:2], _CARRY_HEIGHT, _RELEASE_HEIGHT, tolerance=0.02)
        yield from self.wait(10)

    def done(self) -> bool:
        aside = self.object_position - self.basket
        return bool((np.abs(aside[:2]) < _INSIDE).all()) and aside[2] < _INSIDE_HEIGHT
