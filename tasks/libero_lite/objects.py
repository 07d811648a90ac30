"""Everything that moves freely in the 30 tasks: tableware, groceries, a basket, a wine bottle."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from tasks.libero_lite.mjcf import element, geoms, model, region
from tasks.libero_lite.parts import Colour, Parts, Vector, box, cylinder, ellipsoid, hidden, painted, prism, ring

_BLACK: Colour = (0.06, 0.06, 0.07)
_WHITE: Colour = (0.90, 0.89, 0.85)
_STEEL: Colour = (0.66, 0.67, 0.69)
_RED: Colour = (0.75, 0.10, 0.08)
_ORANGE: Colour = (0.95, 0.55, 0.08)
_YELLOW: Colour = (0.93, 0.80, 0.25)
_GREEN: Colour = (0.05, 0.40, 0.14)
_BLUE: Colour = (0.22, 0.42, 0.78)
_PALE_BLUE: Colour = (0.58, 0.70, 0.86)
_DARK_BLUE: Colour = (0.16, 0.20, 0.55)
_BROWN: Colour = (0.22, 0.08, 0.04)
_TAN: Colour = (0.80, 0.60, 0.35)
_WICKER: Colour = (0.50, 0.32, 0.15)


@dataclass(frozen=True)
class Loose:
    """One free object: mass (g), centre of mass (m), moments of inertia about its frame's axes (1e-6 kg m^2).

    `bottom`, `top` and `radius` (m) are LIBERO's placement sites, which are not the object's true extent.
    """

    mass: float
    centre: Vector
    inertia: Vector
    parts: Parts
    bottom: float = -0.06
    top: float = 0.04
    radius: float = 0.025
    regions: tuple[Element, ...] = ()

    def model(self, name: str) -> Element:
        inertia = tuple(1e-6 * moment for moment in self.inertia)
        inertial = element("inertial", pos=self.centre, mass=1e-3 * self.mass, diaginertia=inertia)
        content = (inertial, *geoms(self.parts), *self.regions)
        return model(name, *content, bottom=self.bottom, top=self.top, radius=self.radius)


def _bowl() -> Parts:
    base = box((0.0229, 0.0155, 0.0026), (0, 0, 0.0042), _BLACK) + box((0.0162, 0.0234, 0.0026), (0, 0, 0.0042), _BLACK)
    belly = ring(14, 0.0335, 0.0098, (0.0007, 0.0099, 0.0119), 60.0, _BLACK)
    wall = ring(17, 0.0471, 0.0337, (0.0013, 0.0093, 0.0188), 14.7, _BLACK)
    return hidden(base) + painted(cylinder(0.0240, 0.0026, (0, 0, 0.0042), _BLACK)) + belly + wall


def _plate() -> Parts:
    base = box((0.0286, 0.0306, 0.0030), (0, 0, 0.0031), _WHITE)
    rim = ring(8, 0.0483, 0.0069, (0.0025, 0.0285, 0.0191), 68.5, _WHITE, start=3)
    # The collision rim is an octagon that reaches below the base; what is seen is round.
    dish = painted(
        cylinder(0.031, 0.0028, (0, 0, 0.0030), _WHITE),
        ring(24, 0.0483, 0.0085, (0.0014, 0.0092, 0.0200), 72.0, _WHITE),
    )
    return hidden(base, rim) + dish


def _ramekin() -> Parts:
    base = prism(8, 0.0358, 0.0032, (0, 0, 0.0041), _STEEL)
    return base + ring(16, 0.0382, 0.0217, (0.0026, 0.0095, 0.0209), 8.6, _STEEL)


def _basket() -> Parts:
    wall = (0.0067, 0.0724, 0.0637)
    return (
        box((0.0766, 0.0724, 0.0089), (0.0025, 0, 0.0131), _TAN)
        + ring(2, 0.0741, 0.0766, wall, 3.6, _WICKER)
        + ring(2, 0.0688, 0.0818, wall, 2.6, _WICKER, start=90)
    )


def _wine_bottle() -> Parts:
    glass: Colour = (0.03, 0.07, 0.03)
    solid = hidden(
        box((0.0150, 0.0150, 0.0362), (0, 0, 0.0373), glass),
        prism(12, 0.0197, 0.0298, (0, 0, 0.0333), glass),
        prism(8, 0.0118, 0.0070, (0, 0, 0.0811), glass),
        prism(8, 0.0080, 0.0070, (0, 0, 0.0931), glass),
        prism(8, 0.0068, 0.0552, (0, 0, 0.1029), glass),
    )
    return solid + painted(
        cylinder(0.0214, 0.0360, (0, 0, 0.0362), glass),
        cylinder(0.0130, 0.0080, (0, 0, 0.0790), glass),
        cylinder(0.0080, 0.0310, (0, 0, 0.1180), glass),
        cylinder(0.0072, 0.0050, (0, 0, 0.1530), _TAN),
        cylinder(0.0217, 0.0200, (0, 0, 0.0340), _WHITE),
    )


def _can(upper: Colour, lower: Colour) -> Parts:
    """It stands along y; its boxes are thinner than what is seen of it."""
    solid = prism(12, 0.0311, 0.0381, (0, -0.0006, -0.0034), _STEEL, axis="y")
    return hidden(solid) + painted(
        cylinder(0.0330, 0.0416, (0, -0.0002, 0), _STEEL, axis="y"),
        cylinder(0.0336, 0.0180, (0, 0.0180, 0), upper, axis="y"),
        cylinder(0.0336, 0.0180, (0, -0.0180, 0), lower, axis="y"),
    )


def _carton(body: Colour, label: Colour, side: float) -> Parts:
    """Along y, with a gabled roof; `side` (m) is how far it lies off its frame in x."""
    panel = (0.0263, 0.0138, 0.0022)
    return (
        box((0.0263, 0.0548, 0.0263), (side, -0.0150, 0), body)
        + box(panel, (0, 0.0478, 0.0135), label, turn=(-48, 0, 0))
        + box(panel, (0, 0.0478, -0.0135), label, turn=(48, 0, 0))
        + box((0.0265, 0.0030, 0.0035), (0, 0.0585, 0), label)
        + painted(
            box((0.0265, 0.0060, 0.0032), (0, 0.0655, 0), body),
            box((0.0268, 0.0130, 0.0268), (side, 0.0150, 0), label),
            box((0.0268, 0.0060, 0.0268), (side, -0.0560, 0), label),
        )
    )


def _salad_dressing() -> Parts:
    solid = hidden(
        box((0.0173, 0.0033, 0.0173), (-0.001, -0.0695, 0), _WHITE),
        box((0.0222, 0.0056, 0.0173), (-0.001, -0.0572, 0), _WHITE),
        box((0.0264, 0.0210, 0.0173), (-0.001, -0.0314, 0), _WHITE),
        box((0.0229, 0.0056, 0.0173), (-0.001, -0.0043, 0), _WHITE),
        box((0.0171, 0.0056, 0.0173), (-0.001, 0.0072, 0), _WHITE),
        box((0.0129, 0.0274, 0.0149), (0, 0.0084, 0), _WHITE),
        prism(8, 0.0163, 0.0187, (0, 0.0542, 0), _GREEN, axis="y"),
    )
    return solid + painted(
        ellipsoid((0.0315, 0.0470, 0.0215), (-0.001, -0.0280, 0), _WHITE),
        cylinder(0.0140, 0.0280, (0, 0.0084, 0), _WHITE, axis="y"),
        cylinder(0.0170, 0.0190, (0, 0.0545, 0), _GREEN, axis="y"),
        cylinder(0.0180, 0.0040, (-0.001, -0.0700, 0), _WHITE, axis="y"),
        ellipsoid((0.0240, 0.0200, 0.0226), (-0.001, -0.0300, 0), _GREEN),
    )


def _ketchup() -> Parts:
    solid = hidden(
        box((0.0281, 0.0331, 0.0170), (0, -0.0394, 0.0008), _RED),
        box((0.0239, 0.0113, 0.0183), (0, 0.0037, 0.0008), _RED),
        box((0.0187, 0.0113, 0.0183), (0, 0.0251, 0.0008), _RED),
        prism(8, 0.0163, 0.0185, (0, 0.0547, 0.0008), _WHITE, axis="y"),
    )
    return solid + painted(
        box((0.0281, 0.0331, 0.0170), (0, -0.0394, 0.0008), _RED),
        ellipsoid((0.0281, 0.0460, 0.0183), (0, -0.0080, 0.0008), _RED),
        cylinder(0.0165, 0.0185, (0, 0.0547, 0.0008), _WHITE, axis="y"),
        box((0.0285, 0.0130, 0.0174), (0, -0.0430, 0.0008), _YELLOW),
    )


def _bbq_sauce() -> Parts:
    return (
        box((0.0235, 0.0145, 0.0268), (0, 0, -0.0278), _BROWN)
        + box((0.0181, 0.0143, 0.0146), (0, 0, 0.0123), _BROWN)
        + box((0.0133, 0.0133, 0.0134), (0, 0, 0.0391), _RED)
        + painted(box((0.0239, 0.0149, 0.0160), (0, 0, -0.0270), _RED))
    )


def _packet(half: Vector, colour: Colour, label: Colour, at: Vector = (0, 0, 0)) -> Parts:
    """A flat packet, its label on both large faces."""
    x, y, z = half
    return box(half, at, colour) + painted(box((0.75 * x, 0.65 * y, z + 0.0004), at, label))


#: Each object by its folder among LIBERO's assets.
OBJECTS = {
    "stable_scanned_objects/akita_black_bowl": Loose(5.59, (0.0023, 0.0005, 0.0227), (5.7, 6.1, 9.1), _bowl()),
    "stable_scanned_objects/plate": Loose(11.52, (0.0003, 0.0051, 0.0064), (15.1, 12.9, 27.6), _plate()),
    "stable_scanned_objects/glazed_rim_porcelain_ramekin": Loose(
        9.66, (-0.0025, 0, 0.0168), (7.4, 8.0, 12.2), _ramekin()
    ),
    "stable_scanned_objects/basket": Loose(
        136.1,
        (0.0013, 0, 0.0609),
        (639, 684, 817),
        _basket(),
        regions=(region("contain_region", (0.06108, 0.06108, 0.06949), (0, 0, 0.07185), (0, 0, 0, 1)),),
    ),
    "turbosquid_objects/wine_bottle": Loose(15.39, (0, 0, 0.0561), (22.9, 22.9, 2.5), _wine_bottle()),
    "stable_hope_objects/alphabet_soup": Loose(
        25.85, (0, -0.0008, -0.0027), (18.2, 13.4, 18.7), _can(_BLUE, _YELLOW), bottom=-0.04
    ),
    "stable_hope_objects/tomato_sauce": Loose(
        26.63, (0.0006, -0.0008, -0.0023), (18.8, 13.9, 19.4), _can(_RED, _GREEN)
    ),
    "stable_hope_objects/milk": Loose(
        31.67, (0.0004, -0.0120, 0), (43.3, 14.5, 43.4), _carton(_WHITE, _RED, 0.0004), radius=0.03
    ),
    "stable_hope_objects/orange_juice": Loose(
        31.67, (-0.0004, -0.0120, 0), (43.3, 14.5, 43.4), _carton(_YELLOW, _ORANGE, -0.0004)
    ),
    "stable_hope_objects/salad_dressing": Loose(21.79, (-0.0005, -0.0056, 0), (34.0, 5.2, 35.2), _salad_dressing()),
    "stable_hope_objects/ketchup": Loose(23.22, (0.0004, -0.0090, 0.0008), (37.9, 7.0, 40.3), _ketchup()),
    "stable_hope_objects/bbq_sauce": Loose(
        12.18, (0, 0, -0.0076), (11.2, 12.1, 2.6), _bbq_sauce(), top=0.06, radius=0.015
    ),
    "stable_hope_objects/butter": Loose(
        5.25, (0, 0, 0), (0.8, 2.7, 3.2), _packet((0.0381, 0.0198, 0.0087), _RED, _WHITE), -0.02, 0.02, 0.02
    ),
    "stable_hope_objects/cream_cheese": Loose(
        6.19, (0, 0, 0), (1.1, 3.6, 4.3), _packet((0.0406, 0.0213, 0.0089), _PALE_BLUE, _DARK_BLUE), -0.025, 0.025, 0.03
    ),
    "stable_hope_objects/cookies": Loose(
        9.64, (0, 0, 0), (5.8, 3.4, 8.6), _packet((0.0310, 0.0413, 0.0094), _RED, _TAN)
    ),
    "stable_hope_objects/chocolate_pudding": Loose(
        10.19,
        (-0.0005, 0, 0.0006),
        (2.5, 6.1, 7.3),
        _packet((0.0401, 0.0232, 0.0137), _PALE_BLUE, _BROWN, (-0.0005, 0, 0.0006)),
    ),
}
