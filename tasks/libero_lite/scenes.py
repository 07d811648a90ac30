"""The two rooms: one with a table, one with only a floor. The names are those that LIBERO's arenas look up."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from tasks.libero_lite.mjcf import element

#: Where LIBERO looks for a floor and a wall; it insists on files for these two.
FLOOR, WALL = "textures/light-gray-floor-tile.png", "textures/light-gray-plaster.png"

#: Walls: centre (m), quaternion wxyz, half width (m).
_WALLS = {
    "leftcorner": ((-1.25, 2.25, 1.5), (0.6532815, 0.6532815, 0.2705981, 0.2705981), 1.06),
    "rightcorner": ((-1.25, -2.25, 1.5), (0.6532815, 0.6532815, -0.2705981, -0.2705981), 1.06),
    "left": ((1.25, 3, 1.5), (0.7071, 0.7071, 0, 0), 1.75),
    "right": ((1.25, -3, 1.5), (0.7071, -0.7071, 0, 0), 1.75),
    "rear": ((-2, 0, 1.5), (0.5, 0.5, 0.5, 0.5), 1.5),
    "front": ((3, 0, 1.5), (0.5, 0.5, -0.5, -0.5), 3),
}
#: Cameras beside the agent's own, which LIBERO places itself: position (m), quaternion wxyz.
_CAMERAS = {
    "frontview": ((1.0, 0, 1.45), (0.56, 0.43, 0.43, 0.56)),
    "birdview": ((-0.2, 0, 3.0), (0.7071, 0, 0, 0.7071)),
    "agentview": ((0.5, 0, 1.35), (0.653, 0.271, 0.271, 0.653)),
    "sideview": ((-0.0565, 1.2761, 1.488), (0.0099, 0.0069, 0.5912, 0.8064)),
}
_UNSEEN = {"conaffinity": 0, "contype": 0, "group": 1}


def table_scene() -> Element:
    """LIBERO resizes the table and moves its legs; sizes and places here only have to be there."""
    legs = [
        element(
            "geom", name=f"table_leg{k}_visual", type="cylinder", size=(0.05, 0.1), material="table_legs", **_UNSEEN
        )
        for k in (1, 2, 3, 4)
    ]
    table = element(
        "body",
        element("geom", name="table_collision", type="box", size=(0.4, 0.4, 0.4), group=0),
        element("geom", name="table_visual", type="box", size=(0.4, 0.4, 0.4), material="table", **_UNSEEN),
        element("site", name="table_top", pos=(0, 0, 0.4), size=(0.001, 0.001, 0.001), rgba=(0, 0, 0, 0)),
        *legs,
        name="table",
        pos=(0, 0, 0.4),
    )
    return _room("table_arena", _floor(), table)


def floor_scene() -> Element:
    return _room("floor_arena", element("body", _floor(), name="floor"))


def _floor() -> Element:
    return element("geom", name="floor", type="plane", size=(3, 3, 0.125), condim=3, material="floorplane", group=1)


def _room(name: str, *content: Element) -> Element:
    matt = {"reflectance": 0, "shininess": 0, "specular": 0}
    wood = {"type": "cube", "builtin": "flat", "width": 512, "height": 512, "mark": "random", "random": 0.02}
    tiles = {"texrepeat": (3, 3), "texuniform": "true"}
    assets = element(
        "asset",
        element(
            "texture",
            type="skybox",
            builtin="gradient",
            rgb1=(0.9, 0.9, 1),
            rgb2=(0.2, 0.3, 0.4),
            width=256,
            height=256,
        ),
        element("texture", name="texplane", type="2d", file=f"../{FLOOR}"),
        element("texture", name="tex-wall", type="2d", file=f"../{WALL}"),
        element("texture", name="tex-table", rgb1=(0.775, 0.707, 0.634), markrgb=(0.74, 0.67, 0.59), **wood),
        element("material", name="floorplane", texture="texplane", **tiles, **matt),
        element("material", name="walls_mat", texture="tex-wall", **tiles, reflectance=0, shininess=0.1, specular=0.8),
        element("material", name="table", texture="tex-table", reflectance=0, shininess=0, specular=0.2),
        element("material", name="table_legs", texture="tex-table", reflectance=0.8, shininess=0.8),
    )
    walls = [
        element(
            "geom", name=f"wall_{side}_visual", type="box", pos=pos, quat=quat, size=(width, 1.5, 0.01),
            material="walls_mat", **_UNSEEN,
        )
        for side, (pos, quat, width) in _WALLS.items()
    ]  # fmt: skip
    light = {"diffuse": (0.8, 0.8, 0.8), "specular": (0.3, 0.3, 0.3), "dir": (0, -0.15, -1), "castshadow": "false"}
    lights = [
        element("light", name=f"light{k}", pos=pos, directional="false", **light)
        for k, pos in enumerate(((1, 1, 4), (-3, -3, 4)), start=1)
    ]
    cameras = [element("camera", name=name, mode="fixed", pos=pos, quat=quat) for name, (pos, quat) in _CAMERAS.items()]
    return element("mujoco", assets, element("worldbody", *walls, *content, *lights, *cameras), model=name)


def floor_image() -> np.ndarray:
    """(256, 256, 3) uint8: four rows of grey planks with light joints, each row's joint at another place."""
    image = np.full((256, 256, 3), (195, 186, 177), dtype=np.uint8)
    for row, joint in enumerate((40, 168, 104, 232)):
        image[64 * row : 64 * (row + 1), :] -= np.uint8(6 * (row % 2))
        image[64 * row : 64 * row + 3, :] = 228
        image[64 * row : 64 * (row + 1), joint : joint + 3] = 228
    return image


def wall_image() -> np.ndarray:
    """(8, 8, 3) uint8: plaster of one colour."""
    return np.full((8, 8, 3), (222, 219, 212), dtype=np.uint8)


#: Each room by its place among LIBERO's assets.
SCENES = {
    "scenes/libero_tabletop_base_style.xml": table_scene,
    "scenes/libero_floor_base_style.xml": floor_scene,
}
#: Each picture likewise.
IMAGES = {FLOOR: floor_image, WALL: wall_image}
