"""Three tasks of LIBERO-90's kitchens: the wine bottle into the cabinet's bottom drawer (26), the bowl onto the cabinet
(31), and the right moka pot onto the stove (38)."""

from __future__ import annotations

import numpy as np

from tasks.experts.libero_spatial import LiberoSpatialExpert
from tasks.experts.scripted import Pose, Script, ScriptedExpert

#: The bottle stands on its origin. Height of the grasp on its neck, where the fingers clear the open drawer, metres.
_NECK = 0.115
#: From the cabinet's origin to the shut bottom drawer: the point of its floor, metres, that the handles above do not
#: cover once it is open.
_DRAWER = np.array([0.003, -0.02, 0.021])
#: The inside of the drawer (LIBERO's `bottom_region`) around that point: half its width, to its front and to its back.
_DRAWER_HALF_WIDTH, _DRAWER_FRONT, _DRAWER_BACK = 0.10, 0.04, 0.10
_DRAWER_DEPTH = 0.05
#: Height of the bottle above the drawer's floor while it is carried, metres.
_BOTTLE_LIFT = 0.11

#: From the cabinet's origin to the middle of its top, metres, and half the top's width and depth.
_CABINET_TOP = np.array([0.003, 0.016, 0.221])
_TOP_HALF_SIZE = np.array([0.12, 0.09])
#: Where to grasp the rim of the bowl, by the style's mode, as world angles: far enough from the open top drawer, and so
#: turned that the hand clears its handle.
_BOWL_SIDES = (-0.3 * np.pi, -0.27 * np.pi, -0.33 * np.pi)

#: Height of the knob on the pot's lid above the pot's origin, metres. The body is too wide for the hand.
_KNOB = 0.078
#: From the stove's origin to the middle of its plate, and from there to the origin of a pot that stands on it, metres.
_STOVE_PLATE = np.array([0.15, 0.0, 0.025])
_POT_HEIGHT = 0.066
_POT_LIFT = 0.17
_PLATE_HALF_WIDTH = 0.07


class BottleInDrawerExpert(ScriptedExpert):
    """Takes the bottle by its neck, with the hand along the cabinet's front, and stands it in the open drawer."""

    reach = 0.14
    min_width = 0.006
    longer_squeeze = 8
    clumsiness = 1.8

    @property
    def drawer(self) -> np.ndarray:
        """World position (3,) of the point of the drawer's floor where the bottle goes, metres."""
        cabinet, slide = self.observation["object"][10:13], self.observation["object"][22]
        return cabinet + _DRAWER + np.array([0.0, slide, 0.0])

    def grasp_pose(self) -> Pose:
        higher = (0.0, 0.005, 0.01)[self.style.mode]
        return self.object_position + np.array([0.0, 0.0, _NECK + higher]), 0.5 * np.pi

    def place(self) -> Script:
        floor = self.drawer
        held = float(self.hand[2] - self.object_position[2])
        carry, release = floor[2] + _BOTTLE_LIFT + held, floor[2] + 0.01 + held
        yield from self.drop_at(floor[:2], carry, release, tolerance=0.01)
        yield from self.wait(10)

    def done(self) -> bool:
        across, along, up = self.object_position - self.drawer
        inside = abs(across) < _DRAWER_HALF_WIDTH and -_DRAWER_FRONT < along < _DRAWER_BACK
        return inside and up < _DRAWER_DEPTH


class BowlOnOpenCabinetExpert(LiberoSpatialExpert):
    """Takes the bowl by its rim, lifts it past the open top drawer and sets it down on the cabinet."""

    sides = _BOWL_SIDES
    climb = 0.23
    clumsiness = 1.4

    @property
    def plate(self) -> np.ndarray:
        """World position (3,) of the middle of the cabinet's top, metres."""
        return self.observation["object"][10:13] + _CABINET_TOP

    def done(self) -> bool:
        aside = self.object_position - self.plate
        return bool((np.abs(aside[:2]) < _TOP_HALF_SIZE).all()) and aside[2] > -0.01


class MokaPotExpert(ScriptedExpert):
    """Takes the pot by the knob of its lid, and sets it down on the stove's plate."""

    reach = 0.10
    min_width = 0.005
    longer_squeeze = 8
    clumsiness = 1.2

    @property
    def plate(self) -> np.ndarray:
        """World position (3,) of the middle of the stove's plate, metres."""
        return self.observation["object"][10:13] + _STOVE_PLATE

    def grasp_pose(self) -> Pose:
        return self.object_position + np.array([0.0, 0.0, _KNOB]), 0.0

    def place(self) -> Script:
        plate = self.plate
        held = float(self.hand[2] - self.object_position[2])
        stands = plate[2] + _POT_HEIGHT + held
        yield from self.drop_at(plate[:2], stands + _POT_LIFT, stands + 0.01, tolerance=0.01)
        yield from self.wait(10)

    def done(self) -> bool:
        aside = self.object_position - self.plate
        return bool((np.abs(aside[:2]) < _PLATE_HALF_WIDTH).all()) and aside[2] < _POT_HEIGHT + 0.01
