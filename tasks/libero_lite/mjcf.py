"""Parts as MJCF, in the form in which LIBERO's and robosuite's object classes read it."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from xml.etree.ElementTree import Element

from tasks.libero_lite.parts import Part, Parts, Vector

#: LIBERO's objects: near to rigid, rough.
ROUGH = {"friction": (0.95, 0.3, 0.1), "solref": (0.001, 1), "solimp": (0.998, 0.998, 0.001)}
#: robosuite draws geoms of group 1 and takes those of group 0 for collisions.
_COLLIDING, _DRAWN = "0", "1"


def element(tag: str, *children: Element, **attributes: object) -> Element:
    """An element; numbers and tuples of numbers are written as MuJoCo reads them."""
    made = Element(tag, {name: _text(value) for name, value in attributes.items()})
    made.extend(children)
    return made


def geoms(parts: Parts, contact: dict[str, tuple[float, ...]] = ROUGH) -> list[Element]:
    """Each part as a geom that collides, a geom that is drawn, or both."""
    return [geom for part in parts for geom in _geoms(part, contact)]


def region(name: str, half: Vector, at: Vector, quaternion: Iterable[float] = (1, 0, 0, 0)) -> Element:
    """A site that LIBERO's predicates measure against, invisible."""
    size, quat = half, tuple(quaternion)
    return element("site", name=name, type="box", size=size, pos=at, quat=quat, group=0, rgba=(0.8, 0.8, 0.8, 0))


def model(name: str, *content: Element, bottom: float = -0.06, top: float = 0.04, radius: float = 0.025) -> Element:
    """A whole object. `bottom`, `top` and `radius` (m) are where LIBERO's placement thinks that it ends."""
    places = {
        "bottom_site": (0.0, 0.0, bottom),
        "top_site": (0.0, 0.0, top),
        "horizontal_radius_site": (radius, radius, 0.0),
    }
    sites = [element("site", name=site, pos=pos, size=0.005, rgba=(0, 0, 0, 0)) for site, pos in places.items()]
    body = element("body", element("body", *content, name="object"), *sites)
    return element("mujoco", element("worldbody", body), model=name)


def _geoms(part: Part, contact: dict[str, tuple[float, ...]]) -> list[Element]:
    shape = {"type": part.kind, "size": part.half, "pos": part.at, "quat": part.quaternion, "rgba": (*part.colour, 1)}
    made = []
    if part.solid:
        made.append(element("geom", **shape, **contact, group=_COLLIDING, density=100))
    if part.seen:
        made.append(element("geom", **shape, group=_DRAWN, contype=0, conaffinity=0, mass=0))
    return made


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_text(number) for number in value)
    return f"{value:.6g}" if isinstance(value, numbers.Real) else str(value)
