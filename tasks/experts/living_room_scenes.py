"""Three tasks of LIBERO-90's living rooms, all into the wooden tray: the tomato sauce (59), the left bowl (60), and the
right bowl stacked on the left one (64)."""

from __future__ import annotations

import numpy as np

from tasks.experts.libero_object import LiberoObjectExpert
from tasks.experts.libero_spatial import LiberoSpatialExpert
from tasks.experts.scripted import Script

#: Heights of the hand above the tray, metres: the can clears the tray's walls, then is let go inside.
_CARRY_HEIGHT = 0.18
_RELEASE_HEIGHT = 0.08
#: The inside of the tray (LIBERO's `contain_region`) around its origin, metres: half its size, and its top.
_INSIDE = np.array([0.12, 0.07])
_INSIDE_HEIGHT = 0.075
#: Where to grasp a bowl's rim, by the style's mode, as world angles.
_SIDES = (-0.5 * np.pi, 0.5 * np.pi, -0.4 * np.pi)
#: How much higher a bowl rests in another bowl than that one, metres.
_NESTED = 0.02
_STACKED_DISTANCE = 0.025


class SauceInTrayExpert(LiberoObjectExpert):
    """Lifts the can, carries it over the tray's wall and drops it."""

    clumsiness = 1.8

    def place(self) -> Script:
        tray = self.basket
        yield from self.drop_at(tray[:2], tray[2] + _CARRY_HEIGHT, tray[2] + _RELEASE_HEIGHT, tolerance=0.02)
        yield from self.wait(10)

    def done(self) -> bool:
        return _inside(self.object_position - self.basket)


class BowlInTrayExpert(LiberoSpatialExpert):
    """Takes the bowl by its rim and sets it down in the middle of the tray."""

    sides = _SIDES
    clumsiness = 1.7

    @property
    def plate(self) -> np.ndarray:
        """World position (3,) of a bowl in the middle of the tray, metres."""
        return self.observation["object"][10:13] + np.array([0.0, 0.0, 0.015])

    def done(self) -> bool:
        return _inside(self.object_position - self.plate)


class StackInTrayExpert(BowlInTrayExpert):
    """Sets the right bowl into the left one, then takes both by their rims and sets them down in the tray."""

    clumsiness = 0.7
    _stacking = True

    def _play(self) -> Script:
        for self._stacking in (True, False):
            yield from super()._play()
            if not self.done():
                return

    @property
    def object_position(self) -> np.ndarray:
        """World position (3,) of the bowl to move now, metres: the right one, then the left one below it."""
        start = 10 if self._stacking else 0
        return self.observation["object"][start : start + 3].astype(float)

    @property
    def plate(self) -> np.ndarray:
        """World position (3,) for the bowl that moves, metres: in the left bowl, then in the tray."""
        goal = self.observation["object"][:3] if self._stacking else self.observation["object"][20:23]
        return goal + np.array([0.0, 0.0, _NESTED if self._stacking else 0.015])

    def done(self) -> bool:
        if not self._stacking:
            return super().done()
        aside = self.object_position - self.observation["object"][:3]
        return bool(np.linalg.norm(aside[:2]) < _STACKED_DISTANCE) and aside[2] > 0.0


def _inside(aside: np.ndarray) -> bool:
    """Whether an object this far (3,) from the tray's origin, metres, is in the tray."""
    return bool((np.abs(aside[:2]) < _INSIDE).all()) and aside[2] < _INSIDE_HEIGHT
