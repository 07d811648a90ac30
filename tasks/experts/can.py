"""Can: from the left bin into the far right compartment of the right bin."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import OPEN, Pose, Script, ScriptedExpert

#: Middle of the can's compartment (robosuite's PickPlace: bin2_pos plus a quarter of the bin's size), metres.
_BIN = np.array([0.1975, 0.4025])
_BIN_HALF_SIZE = np.array([0.0975, 0.1225])
_BIN_FLOOR = 0.8
#: Where it lets go: short of the middle, which the arm reaches only with the hand tilted.
_DROP = np.array([0.16, 0.355])
#: Grasp a little above the can's middle, so that the fingers stay clear of the bin's floor.
_GRASP_HEIGHT = 0.01
_CARRY_HEIGHT = 1.08
_RELEASE_HEIGHT = 0.99
#: A can is round, so any yaw will do: three habits.
_YAWS = (0.0, -0.7, 0.7)


class CanExpert(ScriptedExpert):
    """Lifts the can straight up, carries it over the bins (left or right of the direct way), lets it drop."""

    min_width = 0.02
    clumsiness = 1.4

    def grasp_pose(self) -> Pose:
        return self.object_position + np.array([0.0, 0.0, _GRASP_HEIGHT]), _YAWS[self.style.mode]

    def place(self) -> Script:
        style, yaw = self.style, self.hand_yaw
        start = np.array([*self.hand[:2], _CARRY_HEIGHT])
        goal = np.array([*(_DROP + style.place_offset), _CARRY_HEIGHT])
        length = float(np.linalg.norm(goal - start))

        def lost() -> bool:
            return style.notices and not self.holding()

        def let_go() -> bool:
            way = 1.0 - float(np.linalg.norm(goal - self.hand)) / length
            return lost() or (style.release_at < 1.0 and way > style.release_at)

        yield from self.go(lambda: (start, yaw), tolerance=0.05, until=lost)
        middle = 0.5 * (start + goal) + np.array([style.detour, 0.0, 0.0])
        yield from self.go(lambda: (middle, yaw), tolerance=0.06, until=let_go)
        yield from self.go(lambda: (goal, yaw), tolerance=0.025, until=let_go)
        if not let_go():
            low = np.array([*goal[:2], _RELEASE_HEIGHT])
            yield from self.go(lambda: (low, yaw), tolerance=0.025, limit=30, until=lost)
        self.grip = OPEN
        yield from self.wait(5)
        yield from self.rise(0.08)

    def done(self) -> bool:
        off_centre = np.abs(self.object_position[:2] - _BIN)
        return bool((off_centre < _BIN_HALF_SIZE).all()) and self.object_position[2] < _BIN_FLOOR + 0.1
