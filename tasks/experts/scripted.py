"""The closed-loop waypoint controller that every scripted expert is built on.

An expert is a script: a generator that yields one action per control step and reads the latest observation
between yields, so that a plan (hover, descend, close, lift, carry) reads from top to bottom.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from tasks.experts.style import STYLES
from tasks.task import Observation

OPEN, CLOSED = -1.0, 1.0
#: OSC_POSE: a command of 1 moves 5 cm or turns half a radian.
_STEP_LENGTH, _STEP_ANGLE = 0.05, 0.5
#: The arm covers only part of a commanded delta in one step, so commands overshoot the error by this factor.
_GAIN = 2.0
#: Action noise is weaker on the three rotations.
_NOISE_SHAPE = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])
#: Orientation of a hand whose fingers point down and open along the world's y axis.
DOWN = Rotation.from_quat([1.0, 0.0, 0.0, 0.0])

Script = Iterator[np.ndarray]
Pose = tuple[np.ndarray, float]


class ScriptedExpert(ABC):
    """Picks the object up and takes it to its goal; a subclass says where to grasp and how to place.

    Reads robomimic's observations only. `rng` draws each episode's style and the action noise.
    """

    #: Largest distance from the fingers to the centre of an object that they hold, metres.
    reach = 0.045
    #: Opening between the fingers above which they hold something, metres.
    min_width = 0.01
    #: Steps that the fingers need to close, beyond the style's: more for a rim or a knob than for an object.
    longer_squeeze = 0
    #: Scale of a sloppy expert's mistakes, chosen so that it succeeds in 35 to 50 % of its episodes.
    clumsiness = 1.0

    def __init__(self, rng: np.random.Generator, style: str) -> None:
        self._rng = rng
        self._draw_style = STYLES[style]
        self.finished = True
        self.intended = np.zeros(7)

    def reset(self, observation: Observation) -> None:
        self.observation = observation
        self.style = self._draw_style(self._rng, self.clumsiness)
        self.grip = OPEN
        self.finished = False
        self._disturbance = np.zeros(6)
        self._disturbed_steps = 0
        self._script = self._play()

    def act(self, observation: Observation) -> np.ndarray:
        self.observation = observation
        action = next(self._script, None)
        if action is None:
            self.finished = True
            action = self._command(np.zeros(3), np.zeros(3))
        self.intended = np.clip(action, -1.0, 1.0)
        return self._disturbed(action)

    @property
    def exemplary(self) -> bool:
        return not self.style.deliberate

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def grasp_pose(self) -> Pose:
        """Where the fingers should close: world position (3,), metres, and yaw of the hand, radians."""

    @abstractmethod
    def place(self) -> Script:
        """Take the object to its goal once it is grasped."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the object is where the task wants it."""

    # What scripts read -----------------------------------------------------------------------------------

    @property
    def hand(self) -> np.ndarray:
        """World position (3,) of the point between the fingers, metres."""
        return self.observation["robot0_eef_pos"].astype(float)

    @property
    def hand_yaw(self) -> float:
        """The hand's rotation about the vertical, radians."""
        return yaw_of(self.observation["robot0_eef_quat"])

    @property
    def object_position(self) -> np.ndarray:
        """World position (3,) of the object, metres."""
        return self.observation["object"][:3].astype(float)

    @property
    def object_yaw(self) -> float:
        """The object's rotation about the vertical, radians."""
        return yaw_of(self.observation["object"][3:7])

    def holding(self) -> bool:
        """Whether something keeps the fingers apart and the object is near them."""
        width = float(np.abs(self.observation["robot0_gripper_qpos"]).sum())
        return width > self.min_width and float(np.linalg.norm(self.object_position - self.hand)) < self.reach

    def lost(self) -> bool:
        """Whether the hand notices that it is empty."""
        return self.style.notices and not self.holding()

    def lets_go(self, covered: float) -> bool:
        """Whether to open after the fraction `covered` of the way to the goal: the hand is empty, or by mistake."""
        return self.lost() or (self.style.release_at < 1.0 and covered > self.style.release_at)

    # What scripts do -------------------------------------------------------------------------------------

    def _play(self) -> Script:
        for _ in range(self.style.attempts):
            yield from self.pick()
            if self.holding() or not self.style.notices:
                yield from self.place()
            if self.done():
                return
            self.style = self.style.next_attempt()
            self.grip = OPEN
            yield from self.rise(0.08)

    def pick(self) -> Script:
        """Hover over the grasp, descend, close, and wait for the fingers."""
        self.grip = OPEN
        offset = np.array(self.style.grasp_offset)
        yaw = nearest(self.grasp_pose()[1] + self.style.grasp_yaw, 0.0, np.pi)

        def above(height: float) -> Callable[[], Pose]:
            return lambda: (self.grasp_pose()[0] + offset + np.array([0.0, 0.0, height]), yaw)

        yield from self.go(above(self.style.hover), tolerance=0.015)
        if self.style.close_early:
            yield from self.go(above(self.style.close_early), tolerance=0.01)
            self.grip = CLOSED
        yield from self.go(above(0.0), tolerance=0.008, limit=40)
        self.grip = CLOSED
        yield from self.wait(self.style.squeeze + self.longer_squeeze)

    def go(
        self,
        pose: Callable[[], Pose],
        tolerance: float,
        limit: int = 100,
        until: Callable[[], bool] = lambda: False,
        speed: float = 1.0,
    ) -> Script:
        """Servo the hand to `pose()` until it is within `tolerance` metres (and ten times that in radians)."""
        for _ in range(limit):
            position, yaw = pose()
            error = position - self.hand
            turn = self._turn_to(yaw)
            if until() or (np.linalg.norm(error) < tolerance and np.linalg.norm(turn) < 10.0 * tolerance):
                return
            yield self._command(error, turn, speed)

    def drop_at(self, goal: np.ndarray, carry_height: float, release_height: float, tolerance: float) -> Script:
        """Lift straight up, carry to above `goal` (2,), left or right of the direct path, lower a little and let go."""
        style, yaw = self.style, self.hand_yaw
        start = np.array([*self.hand[:2], carry_height])
        over = np.array([*(goal + style.place_offset), carry_height])
        length = float(np.linalg.norm(over - start))

        def let_go() -> bool:
            return self.lets_go(1.0 - float(np.linalg.norm(over - self.hand)) / length)

        yield from self.go(lambda: (start, yaw), tolerance=0.05, until=self.lost)
        middle = 0.5 * (start + over) + np.array([style.detour, 0.0, 0.0])
        yield from self.go(lambda: (middle, yaw), tolerance=0.06, until=let_go)
        yield from self.go(lambda: (over, yaw), tolerance, until=let_go)
        if not let_go():
            low = np.array([*over[:2], release_height])
            yield from self.go(lambda: (low, yaw), tolerance, limit=30, until=self.lost)
        self.grip = OPEN

    def wait(self, steps: int) -> Script:
        """Hold still for `steps` control steps."""
        for _ in range(steps):
            yield self._command(np.zeros(3), np.zeros(3))

    def rise(self, height: float) -> Script:
        """Move straight up by `height` metres."""
        target, yaw = self.hand + np.array([0.0, 0.0, height]), self.hand_yaw
        yield from self.go(lambda: (target, yaw), tolerance=0.02, limit=20)

    def _turn_to(self, yaw: float) -> np.ndarray:
        """World rotation vector (3,), radians, that turns the hand to point down at `yaw`."""
        now = Rotation.from_quat(self.observation["robot0_eef_quat"])
        return (Rotation.from_euler("z", yaw) * DOWN * now.inv()).as_rotvec()

    def _command(self, error: np.ndarray, turn: np.ndarray, speed: float = 1.0) -> np.ndarray:
        limit = self.style.speed * speed
        move = _shortened(_GAIN * error / _STEP_LENGTH, limit)
        rotation = _shortened(_GAIN * turn / _STEP_ANGLE, 0.6)
        return np.concatenate([move, rotation, [self.grip]])

    def _disturbed(self, action: np.ndarray) -> np.ndarray:
        """The action with the style's noise, or replaced by a jerk or a pause while that lasts."""
        rng, style = self._rng, self.style
        action = action.copy()
        if self._disturbed_steps == 0:
            chance = rng.random()
            if chance < style.jerk_rate:
                self._disturbed_steps = int(rng.integers(2, 6))
                self._disturbance = np.concatenate([rng.uniform(-1.0, 1.0, 3), rng.uniform(-0.3, 0.3, 3)])
            elif chance < style.jerk_rate + style.pause_rate:
                self._disturbed_steps = int(rng.integers(3, 12))
                self._disturbance = np.zeros(6)
        if self._disturbed_steps > 0:
            self._disturbed_steps -= 1
            action[:6] = self._disturbance
        action[:6] += style.noise * _NOISE_SHAPE * rng.standard_normal(6)
        return np.clip(action, -1.0, 1.0)


def yaw_of(xyzw: np.ndarray) -> float:
    """Angle of a body's x axis in the world's horizontal plane, radians."""
    x, y, z, w = (float(value) for value in xyzw)
    return float(np.arctan2(2.0 * (x * y + z * w), 1.0 - 2.0 * (y * y + z * z)))


def nearest(angle: float, reference: float, period: float) -> float:
    """`angle` plus the multiple of `period` that brings it nearest to `reference`."""
    return angle - period * float(np.round((angle - reference) / period))


def _shortened(vector: np.ndarray, limit: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector if length <= limit else vector * (limit / length)
