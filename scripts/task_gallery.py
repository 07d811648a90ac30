"""The tables of docs/tasks.md, a row a task with its first frame: `python -m scripts.task_gallery [tables]`.

Everything but the pictures comes from the tables of `sim-eval list tasks` and from LIBERO's goal files. `tables` writes
these alone and draws nothing. A picture is the start of episode 0 (seed=0), from the task's first camera.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

import tasks
from sim_eval.installation.cards import read_cards
from sim_eval.installation.tasks import suite_rows
from sim_eval.rollout.keys import episode_key
from tasks.libero_files import task_files
from tasks.libero_suites import SUITES
from tasks.naming import ANY_ROBOSUITE, OGBENCH, full_name
from tasks.ogbench_domains import DOMAINS
from tasks.panda_task import CAMERAS, CONTROL_HZ
from tasks.registry import task_options

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/tasks.md"
PICTURES = ROOT / "docs/pictures"
#: Side of a picture, in pixels; drawn at twice that and made smaller, which smooths edges.
SIZE = 288
QUALITY = 78

#: The tasks of LIBERO-90 that the QPILOTS paper steers.
PAPER = (26, 31, 38, 59, 60, 64)
_LIBERO = [(name, {"index": 0}) for name in SUITES if name != "libero_90"]
#: The pictured tasks by the name of their table: the arguments of `tasks.make`.
PICTURED: Mapping[str, list[tuple[str, dict[str, Any]]]] = {
    "robosuite": [*((name, {}) for name in ("lift", "can", "square")), (ANY_ROBOSUITE, {"env": "Stack"})],
    "LIBERO": [*_LIBERO, *(("libero_90", {"index": index}) for index in PAPER)],
    "OGBench": [(OGBENCH, {"env": domain, "index": 1}) for domain in DOMAINS],
}

#: When an episode succeeds, from the source of robosuite 1.4.0 and OGBench 1.2.2.
_SUCCESS = {
    "lift": "the cube is more than 4 cm above the table",
    "can": "the can is in its bin, less than 10 cm above the floor, and the gripper is more than 4.2 cm away",
    "square": "the nut's centre is within 3 cm of the peg's along x and along y and less than 5 cm above the table, "
    "and the gripper is more than 4.2 cm away",
    ANY_ROBOSUITE: "as robosuite's environment says; of Stack: the cube rests on the other, released",
}
_OF_DOMAINS = {
    "cube": "every cube is within 4 cm of its target",
    "scene": "cube, drawer and window are within 4 cm of their targets, and both buttons have their goal colour",
    "puzzle": "every button has its goal colour",
    "antsoccer": "the ball is within 0.5 m of the goal",
    "antmaze": "the ant is within 0.5 m of the goal",
    "humanoidmaze": "the humanoid is within 0.5 m of the goal",
}
#: LIBERO's goal predicates in words.
_PREDICATES = {
    "on": "{0} is on {1}",
    "in": "{0} is in {1}",
    "open": "{0} is open",
    "close": "{0} is closed",
    "turnon": "{0} is on",
    "turnoff": "{0} is off",
}
_NAME = re.compile(r"([a-z_]+?)(?:_(\d+))?(?:_([a-z_]+_(?:region|side)))?")


class Pictured(NamedTuple):
    """A row of a table. `typed`: the options that choose the task; `picture`: its file's name."""

    picture: str
    typed: str
    instruction: str
    steps: str
    starts: str
    success: str


def rows(table: str) -> list[Pictured]:
    """The rows of one of the tables."""
    cards = read_cards(ROOT / "checkpoints")
    found = []
    for name, options in PICTURED[table]:
        (listed,) = suite_rows(name, options, cards)
        typed = " ".join([f"task={name}", *(f"task.{option}={value}" for option, value in options.items())])
        instruction = listed.instruction.partition("\n")[0]
        picture = f"{full_name(name, **task_options(name, **options))}.webp"
        found.append(Pictured(picture, typed, instruction, listed.steps, listed.starts, success(name, options)))
    return found


def success(name: str, options: Mapping[str, Any]) -> str:
    """When an episode of the task succeeds, in words."""
    if name in SUITES:
        return libero_goal(task_files(SUITES[name], options["index"]).bddl)
    if name == OGBENCH:
        return _OF_DOMAINS[options["env"].partition("-")[0]]
    return _SUCCESS[name]


def libero_goal(bddl: Path) -> str:
    """The goal of a BDDL file in words."""
    text = bddl.read_text(encoding="utf-8")
    goal = text[text.index("(:goal") + len("(:goal") :]
    parts = [found.split() for found in re.findall(r"\(([^()]+)\)", goal)]
    numbers: dict[str, set[str]] = {}
    for name in (name for _, *names in parts for name in names):
        thing, number, _ = _parts(name)
        numbers.setdefault(thing, set()).add(number)
    alike = {thing for thing, found in numbers.items() if len(found) > 1}
    told = [_PREDICATES[kind.lower()].format(*(_in_words(name, alike) for name in names)) for kind, *names in parts]
    return ", and ".join(told)


def _parts(name: str) -> tuple[str, str, str]:
    """LIBERO's name of a thing or of a region of it: wooden_cabinet_1_top_region is wooden_cabinet, 1, top_region."""
    found = _NAME.fullmatch(name)
    assert found is not None
    return found[1], found[2] or "", found[3] or ""


def _in_words(name: str, alike: Collection[str]) -> str:
    """A thing or a region of it, with its number where two things of a goal are `alike`."""
    thing, number, region = _parts(name)
    words = f"the {thing.replace('_', ' ')}{f' {number}' if thing in alike else ''}"
    return words if region in ("", "contain_region") else f"the {region.replace('_', ' ')} of {words}"


def tables() -> dict[str, str]:
    """Each table as Markdown."""
    head = "| first frame | task, and its instruction | steps | published starts | success |\n|---|---|---|---|---|\n"
    return {table: f"{_cameras(table)}\n\n{head}{''.join(map(_line, rows(table)))}" for table in PICTURED}


def _cameras(table: str) -> str:
    if table != "OGBench":
        return f"Cameras: {_quoted(CAMERAS)}. {CONTROL_HZ} control steps a second."
    robots = {domain.robot.name: domain.robot for domain in DOMAINS.values()}
    told = [f"{robot.name} {_quoted(robot.cameras)}, {robot.control_hz} steps a second" for robot in robots.values()]
    return f"Cameras: {'; '.join(told)}."


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _line(row: Pictured) -> str:
    picture = f"![{row.typed}](pictures/{row.picture})"
    task = f"`{row.typed}`<br>{row.instruction}"
    cells = (picture, task, row.steps, row.starts or "none", row.success)
    return f"| {' | '.join(cells)} |\n"


def written(page: str) -> str:
    """The page with its tables as they should be: each stands between two comments that name it."""
    for table, text in tables().items():
        begin, end = f"<!-- {table}: python -m scripts.task_gallery -->\n\n", f"\n<!-- end of {table} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}{end}{rest.partition(end)[2]}"
    return page


def pictured() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, options and picture's file of each pictured task."""
    for table, named in PICTURED.items():
        for (name, options), row in zip(named, rows(table), strict=True):
            yield name, options, row.picture


def draw() -> None:
    """Draw every picture."""
    PICTURES.mkdir(exist_ok=True)
    for name, options, picture in tqdm(list(pictured()), unit="task", disable=None):
        task = tasks.make(name, **options)
        try:
            task.reset(episode_key(task.spec.name, 0, 0, "eval"))
            frame = Image.fromarray(task.frame(task.spec.cameras[0], 2 * SIZE))
        finally:
            task.close()
        frame.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(PICTURES / picture, quality=QUALITY, method=6)


if __name__ == "__main__":
    if sys.argv[1:] != ["tables"]:
        draw()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
