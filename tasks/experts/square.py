"""Square: put the nut, held by its handle, over the square peg."""

from __future__ import annotations

import numpy as np

from tasks.experts.scripted import OPEN, Pose, Script, ScriptedExpert, nearest

#: robosuite's NutAssembly: the square peg's axis. The task succeeds when the nut is around it, below this height (m).
_PEG = np.array([0.23, 0.1])
_DONE_HEIGHT = 0.87
_PEG_TOP = 0.95
#: Distance from the nut's centre to the grasp, along the nut's x axis (the handle): nearer, the fingers would catch
#: the nut's frame and squeeze it out. The height above the nut's middle keeps them clear of the table.
_HANDLE = 0.062
_GRASP_HEIGHT = 0.002
#: The nut's hole is wider than the peg by this much on each side.
_CLEARANCE = 0.007
_CARRY_HEIGHT = _PEG_TOP + 0.05
#: The peg is near the end of the arm's reach: the handle must not point away from the robot (yaw 0).
_REACHABLE_YAWS = (-0.5 * np.pi, 0.5 * np.pi, np.pi)
#: The last joint lets the hand turn about this far to either side, radians.
_MAX_HAND_YAW = 1.8


class SquareExpert(ScriptedExpert):
    """Grasps across the handle, turns the nut to the peg's nearest face, aligns it and lowers it."""

    reach = 0.10
    clumsiness = 0.7

    def grasp_pose(self) -> Pose:
        yaw = self.object_yaw
        along = _HANDLE + (-0.004, 0.0, 0.006)[self.style.mode]
        return self.object_position + np.array([along * np.cos(yaw), along * np.sin(yaw), _GRASP_HEIGHT]), yaw

    def place(self) -> Script:
        style, held = self.style, self.holding()
        nut_yaw, hand_yaw = self._facing()
        target = np.array([*(_PEG + 0.3 * np.array(style.place_offset)), _CARRY_HEIGHT])
        start = np.linalg.norm(self.object_position - target)

        def let_go() -> bool:
            return self.lets_go(1.0 - float(np.linalg.norm(target - self.object_position) / start))

        def pose(goal: np.ndarray) -> Pose:
            """The hand's pose that puts the nut's centre at `goal` and aligns its sides with the peg's."""
            if not held:
                return goal + _HANDLE * np.array([np.cos(nut_yaw), np.sin(nut_yaw), 0.0]), hand_yaw
            askew = nearest(nut_yaw + style.place_yaw - self.object_yaw, 0.0, 2.0 * np.pi)
            near = abs(hand_yaw - self.hand_yaw) < 0.5
            return self.hand + goal - self.object_position, self.hand_yaw + askew if near else hand_yaw

        yield from self.go(lambda: (np.array([*self.hand[:2], _CARRY_HEIGHT]), self.hand_yaw), 0.03, until=self.lost)
        middle = 0.5 * (self.object_position + target) + np.array([0.0, style.detour, 0.0])
        middle[2] = _CARRY_HEIGHT
        yield from self.go(lambda: pose(middle), tolerance=0.05, until=let_go)
        yield from self.go(lambda: pose(target), tolerance=0.03, limit=60, until=let_go)
        yield from self.go(lambda: pose(target), tolerance=0.005, limit=20, until=let_go, speed=0.3)
        if not let_go():
            yield from self.go(lambda: pose(self._lower(target)), tolerance=0.0, limit=60, until=self.lost)
        self.grip = OPEN
        yield from self.wait(5)

    def _lower(self, target: np.ndarray) -> np.ndarray:
        """The next point on the way down over `target`: the better the nut is aligned, the lower."""
        aside = float(np.linalg.norm(target[:2] - self.object_position[:2]))
        drop = 0.02 * max(0.0, 1.0 - aside / _CLEARANCE)
        return np.array([*target[:2], self.object_position[2] - drop])

    def _facing(self) -> tuple[float, float]:
        """The yaws of the nut on the peg and of the hand then: the smallest turn, or in mode 2 the largest."""
        now, hand = self.object_yaw, self.hand_yaw
        choices = []
        for nut_yaw in _REACHABLE_YAWS:
            hand_yaw = nearest(hand + nut_yaw - now, 0.0, 2.0 * np.pi)
            if abs(hand_yaw) < _MAX_HAND_YAW:
                choices.append((abs(hand_yaw - hand), nut_yaw, hand_yaw))
        choices.sort()
        _, nut_yaw, hand_yaw = choices[-1 if self.style.mode == 2 else 0]
        return nut_yaw, hand_yaw

    def done(self) -> bool:
        off_peg = np.abs(self.object_position[:2] - _PEG)
        return bool((off_peg < 0.03).all()) and self.object_position[2] < _DONE_HEIGHT
