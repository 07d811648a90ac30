"""OGBench's domains and their five tasks each, as its release 1.2.2 registers them. Imports no simulator."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.task import TaskError

#: Tasks of every domain; OGBench numbers them from 1.
TASKS_OF_A_DOMAIN = 5
#: The task's number that is meant where none is given.
FIRST = 1


@dataclass(frozen=True)
class Robot:
    """A robot of OGBench. `action_size`: entries of an action. `cameras`: of its scenes, the best view first."""

    name: str
    action_size: int
    control_hz: int
    cameras: tuple[str, ...]


ARM = Robot("ur5e", 5, 20, ("front", "front_pixels"))
ANT = Robot("ant", 8, 10, ("top", "back"))
HUMANOID = Robot("humanoid", 21, 40, ("top", "back"))


@dataclass(frozen=True)
class Domain:
    """A domain: its name, robot, control steps per episode, and the instructions of tasks 1 to 5.

    OGBench has no language. The instructions put its tasks' names in words.
    """

    name: str
    robot: Robot
    max_steps: int
    instructions: tuple[str, ...]


def _same(instruction: str) -> tuple[str, ...]:
    return (instruction,) * TASKS_OF_A_DOMAIN


_MAZE, _BALL = _same("walk through the maze to the goal"), _same("bring the ball to the goal")
_PUZZLE = _same("press buttons until every button has its goal colour")
_CYCLE = "move every cube to the place of the next one"

#: By name. The domains with teleporters are left out: their steps draw from a global random generator.
DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("antmaze-medium", ANT, 1000, _MAZE),
        Domain("antmaze-large", ANT, 1000, _MAZE),
        Domain("antmaze-giant", ANT, 1000, _MAZE),
        Domain("humanoidmaze-medium", HUMANOID, 2000, _MAZE),
        Domain("humanoidmaze-large", HUMANOID, 2000, _MAZE),
        Domain("humanoidmaze-giant", HUMANOID, 4000, _MAZE),
        Domain("antsoccer-arena", ANT, 1000, _BALL),
        Domain("antsoccer-medium", ANT, 1000, _BALL),
        Domain(
            "cube-single",
            ARM,
            200,
            (
                "move the cube sideways to its target",
                "move the cube forwards to its target",
                "move the cube backwards to its target",
                *("move the cube diagonally to its target",) * 2,
            ),
        ),
        Domain(
            "cube-double",
            ARM,
            500,
            (
                "move one cube to its target",
                *("move both cubes to their targets",) * 2,
                "swap the two cubes",
                "stack the two cubes",
            ),
        ),
        Domain(
            "cube-triple",
            ARM,
            1000,
            (
                "move one cube to its target",
                "move all three cubes to their targets",
                "move the cubes from the stack to their targets",
                _CYCLE,
                "stack the three cubes",
            ),
        ),
        Domain(
            "cube-quadruple",
            ARM,
            1000,
            (
                "move two cubes to their targets",
                "move all four cubes to their targets",
                "move the cubes from the square to their targets",
                _CYCLE,
                "stack the four cubes",
            ),
        ),
        Domain(
            "cube-octuple",
            ARM,
            1500,
            (
                "move four cubes to their targets",
                *("move all eight cubes to their targets",) * 2,
                *("stack the eight cubes at their targets",) * 2,
            ),
        ),
        Domain(
            "scene",
            ARM,
            750,
            (
                "open the drawer and the window",
                "unlock and close the drawer and the window, then lock both",
                "open the drawer, unlock and close the window, and move the cube to its target",
                "unlock the drawer, put the cube into it and close it",
                "put the cube into the drawer, close it, open the window, and lock both",
            ),
        ),
        Domain("puzzle-3x3", ARM, 500, _PUZZLE),
        Domain("puzzle-4x4", ARM, 500, _PUZZLE),
        Domain("puzzle-4x5", ARM, 1000, _PUZZLE),
        Domain("puzzle-4x6", ARM, 1000, _PUZZLE),
    )
}


def domain_of(env: object, index: object) -> Domain:
    """The domain `env`. Raises TaskError for an unknown one and for an index outside 1 to 5."""
    if not isinstance(env, str) or env not in DOMAINS:
        raise TaskError(f"env is {env!r}; accepted for ogbench: {', '.join(DOMAINS)}")
    if isinstance(index, bool) or not isinstance(index, int) or not 1 <= index <= TASKS_OF_A_DOMAIN:
        raise TaskError(f"index is {index!r}; accepted for ogbench: 1 to {TASKS_OF_A_DOMAIN}, as OGBench numbers them")
    return DOMAINS[env]
