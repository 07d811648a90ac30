"""The primitives, and the few ways to put them together: rings and prisms of boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

Vector = tuple[float, float, float]
#: Red, green, blue in [0, 1].
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A box, cylinder or ellipsoid in its body's frame: MuJoCo's half sizes and centre in m, quaternion wxyz.

    A `solid` part collides, a `seen` one is drawn.
    """

    kind: str
    half: tuple[float, ...]
    at: Vector
    quaternion: tuple[float, ...]
    colour: Colour
    solid: bool = True
    seen: bool = True


Parts = tuple[Part, ...]


def box(half: Vector, at: Vector, colour: Colour, turn: Vector = (0.0, 0.0, 0.0)) -> Parts:
    """`turn`: angles about the fixed x, y and z axes, in that order, degrees."""
    return (Part("box", half, at, _wxyz(Rotation.from_euler("xyz", turn, degrees=True)), colour),)


def cylinder(radius: float, half_height: float, at: Vector, colour: Colour, axis: str = "z") -> Parts:
    return (Part("cylinder", (radius, half_height), at, _wxyz(_TO_AXIS[axis]), colour),)


def ellipsoid(half: Vector, at: Vector, colour: Colour) -> Parts:
    return (Part("ellipsoid", half, at, (1, 0, 0, 0), colour),)


def ring(
    count: int, radius: float, height: float, half: Vector, lean: float, colour: Colour, start: float = 0
) -> Parts:
    """`count` boxes around the z axis, their centres `radius` away at `height`, the first at the azimuth `start`.

    `half` is through the wall, along it and up it; `lean` is how far the wall leans outwards. Degrees.
    """
    azimuths = np.radians(start) + np.arange(count) * 2.0 * np.pi / count
    return tuple(
        Part(
            "box",
            half,
            (radius * np.cos(azimuth), radius * np.sin(azimuth), height),
            _wxyz(Rotation.from_euler("z", azimuth) * Rotation.from_euler("y", lean, degrees=True)),
            colour,
        )
        for azimuth in azimuths
    )


def prism(sides: int, radius: float, half_height: float, at: Vector, colour: Colour, axis: str = "z") -> Parts:
    """A prism with an even number of sides, `radius` to the middle of a side, as boxes through its axis.

    Boxes rest on one another and in a gripper on several points, where MuJoCo gives a cylinder only one or two.
    """
    half = (radius, radius * np.tan(np.pi / sides), half_height)
    turns = (_TO_AXIS[axis] * Rotation.from_euler("z", 2.0 * np.pi * k / sides) for k in range(sides // 2))
    return tuple(Part("box", half, at, _wxyz(turn), colour) for turn in turns)


def hidden(*groups: Parts) -> Parts:
    """The parts, which collide but are not drawn."""
    return tuple(replace(part, seen=False) for group in groups for part in group)


def painted(*groups: Parts) -> Parts:
    """The parts, which are drawn but do not collide."""
    return tuple(replace(part, solid=False) for group in groups for part in group)


_TO_AXIS = {"z": Rotation.identity(), "y": Rotation.from_euler("x", -90, degrees=True)}


def _wxyz(rotation: Rotation) -> tuple[float, ...]:
    return tuple(rotation.as_quat(scalar_first=True))
