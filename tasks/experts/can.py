"""Can: from the left bin into the far right compartment of the right bin."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import Pose, Script, ScriptedExpert

#: Middle of the can's compartment (robosuite's PickPlace: bin2_pos plus a quarter of the bin's size), metres.
_BIN = np.array([0.1975, 0.4025])
_BIN_HALF_SIZE = np.array([0.0975, 0.1225])
_BIN_FLOOR = 0.8
#: Where the hand lets go: short of the compartment's middle, which the arm reaches only with a tilted hand.
_DROP = np.array([0.16, 0.355])
#: Grasp a little above the can's middle, so that the fingers stay clear of the bin's floor.
_GRASP_HEIGHT = 0.01
_CARRY_HEIGHT = 1.08
_RELEASE_HEIGHT = 0.99
#: A can is round, so any yaw will do; each style prefers one of these, radians.
_YAWS = (0.0, -0.7, 0.7)


class CanExpert(ScriptedExpert):
    """Lifts the can straight up, carries it over the bins, left or right of the direct path, and drops it."""

    min_width = 0.02
    clumsiness = 1.4

    def grasp_pose(self) -> Pose:
        return self.object_position + np.array([0.0, 0.0, _GRASP_HEIGHT]), _YAWS[self.style.mode]

    def place(self) -> Script:
        yield from self.drop_at(_DROP, _CARRY_HEIGHT, _RELEASE_HEIGHT, tolerance=0.025)
        yield from self.wait(5)
        yield from self.rise(0.08)

    def done(self) -> bool:
        off_centre = np.abs(self.object_position[:2] - _BIN)
        return bool((off_centre < _BIN_HALF_SIZE).all()) and self.object_position[2] < _BIN_FLOOR + 0.1
