"""How an expert plays one episode: its habits and, if it is sloppy, its mistakes, drawn for each episode."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Style:
    """Habits (of every expert) and mistakes (of sloppy ones). Lengths in metres, angles in radians."""

    speed: float  # largest translation command, 1 = 5 cm a step
    noise: float  # standard deviation of the action noise
    hover: float  # height above the grasp from which it descends
    detour: float  # sideways shift of the path to the goal; the sign says left or right
    mode: int  # which of a task's equally good grasps it prefers: 0, 1 or 2
    grasp_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    grasp_yaw: float = 0.0
    close_early: float = 0.0  # height above the grasp at which it already closes the gripper
    squeeze: int = 7  # steps it waits for the fingers to close
    release_at: float = 1.0  # fraction of the way to the goal after which it lets go
    place_offset: tuple[float, float] = (0.0, 0.0)
    place_yaw: float = 0.0
    jerk_rate: float = 0.0  # probability per step that a jerk starts
    pause_rate: float = 0.0  # probability per step that a pause starts
    notices: bool = True  # goes back when its hand is empty instead of carrying on
    attempts: int = 8
    deliberate: bool = False  # the first attempt misses on purpose, and the next one shows how to recover

    def next_attempt(self) -> Style:
        """The style of the next attempt, which is more accurate, or free of mistakes after a deliberate one."""
        rest = 0.0 if self.deliberate else 0.4
        return replace(
            self,
            deliberate=False,
            grasp_offset=tuple(rest * value for value in self.grasp_offset),  # type: ignore[arg-type]
            grasp_yaw=rest * self.grasp_yaw,
            close_early=0.0,
            squeeze=7,
            release_at=1.0,
            place_offset=tuple(rest * value for value in self.place_offset),  # type: ignore[arg-type]
            place_yaw=rest * self.place_yaw,
            attempts=self.attempts - 1,
        )


def draw_clean(rng: np.random.Generator, clumsiness: float = 0.0) -> Style:
    """A style without mistakes."""
    return Style(
        speed=rng.uniform(0.75, 1.0),
        noise=rng.uniform(0.02, 0.06),
        hover=rng.uniform(0.05, 0.10),
        detour=rng.choice([-1.0, 1.0]) * rng.uniform(0.0, 0.06),
        mode=int(rng.integers(3)),
    )


def draw_sloppy(rng: np.random.Generator, clumsiness: float) -> Style:
    """A clean style with one to three kinds of mistakes; half of the styles notice an empty hand.

    `clumsiness` scales the mistakes' lengths and angles: an error that spoils Square is harmless in Lift.
    """
    style = replace(
        draw_clean(rng),
        noise=rng.uniform(0.05, 0.15),
        jerk_rate=rng.uniform(0.0, 0.03),
        pause_rate=rng.uniform(0.0, 0.02),
        notices=bool(rng.random() < 0.5),
        attempts=int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])),
    )
    kinds = rng.choice(len(_MISTAKES), size=rng.integers(1, 4), replace=False)
    for kind in kinds:
        style = replace(style, **_MISTAKES[kind](rng, clumsiness))
    return style


def draw_recovering(rng: np.random.Generator, clumsiness: float) -> Style:
    """A clean style with more action noise, of which three in ten miss the first grasp on purpose.

    So demonstrations show how to come back from states that a cloned policy's errors lead to (Laskey et al. 2017,
    arXiv 1703.09327).
    """
    style = replace(draw_clean(rng), noise=rng.uniform(0.03, 0.12))
    if rng.random() < 0.3:
        miss = (_miss_sideways, _grasp_high, _close_early)[int(rng.integers(3))]
        style = replace(style, deliberate=True, **miss(rng, clumsiness))
    return style


#: How an expert can play.
STYLES = {"clean": draw_clean, "sloppy": draw_sloppy, "recovering": draw_recovering}


def _miss_sideways(rng: np.random.Generator, scale: float) -> dict:
    angle, distance = rng.uniform(0.0, 2.0 * np.pi), scale * rng.uniform(0.01, 0.04)
    return {"grasp_offset": (distance * np.cos(angle), distance * np.sin(angle), 0.0)}


def _grasp_high(rng: np.random.Generator, scale: float) -> dict:
    return {"grasp_offset": (0.0, 0.0, scale * rng.uniform(0.01, 0.05))}


def _close_early(rng: np.random.Generator, scale: float) -> dict:
    return {"close_early": scale * rng.uniform(0.01, 0.06)}


def _turn_askew(rng: np.random.Generator, scale: float) -> dict:
    return {"grasp_yaw": rng.choice([-1.0, 1.0]) * scale * rng.uniform(0.2, 0.7)}


def _squeeze_short(rng: np.random.Generator, scale: float) -> dict:
    return {"squeeze": int(rng.integers(0, 3))}


def _release_early(rng: np.random.Generator, scale: float) -> dict:
    return {"release_at": rng.uniform(0.2, 0.95)}


def _misplace(rng: np.random.Generator, scale: float) -> dict:
    angle, distance = rng.uniform(0.0, 2.0 * np.pi), scale * rng.uniform(0.01, 0.1)
    return {
        "place_offset": (distance * np.cos(angle), distance * np.sin(angle)),
        "place_yaw": scale * rng.uniform(-0.6, 0.6),
    }


_MISTAKES = (_miss_sideways, _grasp_high, _close_early, _turn_askew, _squeeze_short, _release_early, _misplace)
