"""What stands fixed on the table: a cabinet with three drawers, a stove with its knob, a wine rack."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from tasks.libero_lite.mjcf import element, geoms, model, region
from tasks.libero_lite.parts import Colour, Parts, box, cylinder, hidden, painted, prism

_DARK_WOOD: Colour = (0.12, 0.09, 0.075)
_DRAWER_WOOD: Colour = (0.15, 0.115, 0.095)
_RED_WOOD: Colour = (0.28, 0.10, 0.05)
_LIGHT_WOOD: Colour = (0.66, 0.50, 0.33)
_METAL: Colour = (0.62, 0.62, 0.63)
_ENAMEL: Colour = (0.80, 0.80, 0.80)
_IRON: Colour = (0.25, 0.25, 0.26)
_BLACK: Colour = (0.07, 0.07, 0.07)

#: MuJoCo's own friction and stiffness, which LIBERO's stove keeps.
_PLAIN: dict[str, tuple[float, ...]] = {}
#: Drawers and knob weigh so much, whatever their parts: kg and kg m^2.
_HEAVY = {"pos": (0, 0, 0), "mass": 3, "diaginertia": (1, 1, 1)}


def wooden_cabinet() -> Element:
    """Its drawers come out along -y. Name of each, height of its middle and of its handle, m."""
    drawers = [
        _drawer(name, *heights)
        for name, heights in {
            "top": (0.18358, 0.18393),
            "middle": (0.11387, 0.11041),
            "bottom": (0.04525, 0.04114),
        }.items()
    ]
    top = region("top_side", (0.12534, 0.09438, 0.00147), (0.00354, 0.01567, 0.22152))
    carcass = element("body", top, *geoms(_carcass()), *drawers, name="base")
    return model("wooden_cabinet", carcass, bottom=-0.045, top=0.045, radius=0.045)


def _carcass() -> Parts:
    wood = _DARK_WOOD
    sides = (0.0052, 0.0954, 0.1058)
    shelf = (0.1119, 0.0896, 0.0011)
    return (
        box(sides, (-0.1122, 0.0163, 0.1143), wood)
        + box(sides, (0.1190, 0.0163, 0.1143), wood)
        + box((0.1191, 0.0023, 0.1058), (0.0021, 0.1094, 0.1143), wood)
        + box((0.1229, 0.0898, 0.0023), (0.0041, 0.0164, 0.0069), wood)
        + box((0.1273, 0.0941, 0.0014), (0.0039, 0.0158, 0.2216), wood)
        + box(shelf, (0.0041, 0.0187, 0.0093), wood)
        + box(shelf, (0.0039, 0.0187, 0.0793), wood)
        + box(shelf, (0.0038, 0.0187, 0.1494), wood)
    )


def _drawer(name: str, middle: float, handle: float) -> Element:
    """Closed at 0, open from -0.14 m on."""
    wood = _DRAWER_WOOD
    # Turned as LIBERO's is, because policies observe the handle's orientation.
    bar = box((0.0077, 0.0082, 0.0445), (-0.0028, -0.1016, handle), _METAL, turn=(90, 0, -90))
    parts = (
        box((0.1093, 0.0027, 0.0343), (0.0033, -0.0752, middle - 0.0005), wood)
        + box((0.1068, 0.0036, 0.0321), (0.0033, -0.0684, middle), wood)
        + box((0.1068, 0.0036, 0.0321), (0.0033, 0.0908, middle), wood)
        + box((0.0027, 0.0815, 0.0317), (-0.1019, 0.0111, middle), wood)
        + box((0.0027, 0.0815, 0.0313), (0.1089, 0.0111, middle), wood)
        + box((0.1070, 0.0810, 0.0040), (0.0035, 0.0105, middle - 0.0284), wood)
        + bar
        + box((0.0051, 0.0106, 0.0055), (0.0292, -0.0835, handle), _METAL)
        + box((0.0051, 0.0106, 0.0056), (-0.0356, -0.0835, handle), _METAL)
    )
    inside = {"top": 0.18563, "middle": 0.11690, "bottom": 0.04701}[name]
    quarter_turn = (0.70711, 0, 0.70711, 0)
    slide = element(
        "joint", name=f"{name}_level", type="slide", axis=(0, 1, 0), range=(-0.16, 0.01), damping=50, limited="true"
    )
    return element(
        "body",
        element("inertial", **_HEAVY),
        slide,
        region(f"{name}_region", (0.02993, 0.07561, 0.10224), (0.00328, 0.01128, inside), quarter_turn),
        *geoms(parts),
        name=f"cabinet_{name}",
    )


def flat_stove() -> Element:
    """Its knob turns about the vertical, on from 0.5 rad."""
    # In LIBERO's this is a thin sheet, which objects that drop onto it do not quite fall through.
    plate = hidden(box((0.095, 0.095, 0.003), (0, 0, 0.0225), _IRON))
    glow = element(
        "site", name="burner", type="cylinder", pos=(0, 0, 0.022), size=(0.0625, 0.0005), rgba=(0.9, 0.05, 0.05, 1)
    )
    spiral = painted(*(cylinder(r, 0.0005 * k, (0, 0, 0.0215), c) for k, (r, c) in enumerate(_SPIRAL, start=4)))
    burner = element(
        "body",
        region("cook_region", (0.075, 0.075, 0.0025), (0, 0, 0)),
        *geoms(box((0.095, 0.095, 0.02), (0, 0, 0), _ENAMEL) + plate, _PLAIN),
        element("body", *geoms(spiral), name="burner_plate"),
        glow,
        name="burner",
        pos=(0.15, 0, 0),
    )
    hinge = element(
        "joint", name="button", type="hinge", axis=(0, 0, 1), range=(-0.005, 2.1), damping=1, limited="true"
    )
    knob = element(
        "body", element("inertial", **_HEAVY), hinge, *geoms(_knob()), name="button", quat=(0.7071068, 0, 0, 0.7071068)
    )
    return model("flat_stove", element("body", burner, knob, name="base"), bottom=-0.045, top=0.045, radius=0.045)


#: Rings of the burner, the widest first, each a little higher than the one outside it.
_SPIRAL = [(0.065, _IRON), (0.052, _BLACK), (0.045, _IRON), (0.032, _BLACK), (0.025, _IRON), (0.012, _BLACK)]


def _knob() -> Parts:
    disc = prism(12, 0.0465, 0.0062, (0.0013, 0.0044, 0.0066), _BLACK)
    return (
        disc
        + box((0.0123, 0.0346, 0.0243), (0.0014, 0.0174, 0.0257), _BLACK)
        + box((0.0122, 0.0078, 0.0205), (0.0012, -0.0200, 0.0244), _BLACK)
        + box((0.0122, 0.0078, 0.0174), (0.0012, -0.0250, 0.0251), _BLACK)
        + box((0.0122, 0.0042, 0.0166), (0.0011, -0.0364, 0.0172), _BLACK)
    )


def wine_rack() -> Element:
    """Two planes that lean backwards on a stand; a bottle lies against the ledge at the foot of the upper one."""
    plane, ledge, foot = (0.1344, 0.0789, 0.0045), (0.1322, 0.0087, 0.0011), (0.0900, 0.0600, 0.0045)
    parts = (
        box(plane, (0, -0.0061, 0.2512), _LIGHT_WOOD, turn=(31.3, 0, 0))
        + box(plane, (0, -0.0427, 0.1273), _LIGHT_WOOD, turn=(31.3, 0, 0))
        + box(ledge, (0, -0.0748, 0.2207), _LIGHT_WOOD, turn=(-60.7, 0, 0))
        + box(ledge, (0, -0.1091, 0.0974), _LIGHT_WOOD, turn=(-60.7, 0, 0))
        + box((0.0665, 0.0930, 0.0045), (0, 0, 0.0066), _RED_WOOD)
        + box(foot, (0, 0.0694, 0.0101), _RED_WOOD, turn=(-7.5, 0, 0))
        + box(foot, (0, -0.0643, 0.0126), _RED_WOOD, turn=(8, 0, 0))
        + box((0.0905, 0.0141, 0.0045), (0, 0, 0.0205), _RED_WOOD)
        + box((0.0076, 0.0091, 0.1617), (0, 0.0089, 0.1703), _RED_WOOD, turn=(-15.8, 0, 0))
    )
    slope = (0.8549119, -0.5187733, 0, 0)
    shelf = region("top_region", (0.10087, 0.022, 0.00251), (0, -0.08003, 0.21745), slope)
    return model("wine_rack", *geoms(parts), shelf)


#: Each fixture's model by its place among LIBERO's assets.
FIXTURES = {
    "articulated_objects/wooden_cabinet.xml": wooden_cabinet,
    "articulated_objects/flat_stove.xml": flat_stove,
    "turbosquid_objects/wine_rack/wine_rack.xml": wine_rack,
}
