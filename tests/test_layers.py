"""The architecture, enforced: who imports whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {"tasks", "policies", "critics"}


def imported(path: Path) -> set[str]:
    """Top-level names of every module that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_layers_import_neither_each_other_nor_the_engine(layer: str) -> None:
    forbidden = (LAYERS | {"sim_eval", "tests", "benchmarks"}) - {layer}
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    offences = {str(file.relative_to(ROOT)): imported(file) & forbidden for file in files}
    assert not {file: names for file, names in offences.items() if names}


def test_only_training_and_the_options_know_the_suites_own_tasks() -> None:
    """Elsewhere the engine takes a factory, so that its tests and a user's own task need no registry."""
    allowed = {"tasks.py", "collect.py", "settings.py"}
    builders = {
        file.name
        for file in (ROOT / "sim_eval").rglob("*.py")
        if any(
            isinstance(node, ast.Import) and any(alias.name == "tasks" for alias in node.names)
            for node in ast.walk(ast.parse(file.read_text()))
        )
    }
    assert builders <= allowed


#: The engine's floors, the ground first: a package imports those below its own floor alone.
FLOORS = (
    {"foundation", "gymnasium", "samplers"},
    {"config"},
    {"models", "rollout"},
    {"runs", "serving"},
    {"analysis", "installation"},
    {"video"},
    {"evaluation"},
    {"training"},
    {"probing"},
    {"report"},
    {"view"},
    {"commands"},
    {"api"},
)


def engine_imports(path: Path) -> set[str]:
    """The engine's packages and single modules that the file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "sim_eval":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sim_eval."):
            names.add(node.module.split(".")[1])
    return names


def test_no_arrow_points_upward_in_the_engine() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    engine = ROOT / "sim_eval"
    rooms = {file.relative_to(engine).parts[0].removesuffix(".py") for file in engine.rglob("*.py")}
    doors = {"__init__", "__main__"}  # the public API, each name imported when it is first used, and the command
    assert rooms - doors == set(floor)
    upward = []
    for file in sorted(engine.rglob("*.py")):
        room = file.relative_to(engine).parts[0].removesuffix(".py")
        if room not in doors:
            upward += [f"{file.name} -> {name}" for name in engine_imports(file) - {room} if floor[name] >= floor[room]]
    assert not upward


def test_no_two_files_import_each_other() -> None:
    """Circles of files, function-level imports included; the lazy public API is left out."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in ("sim_eval", *LAYERS)
        for file in (ROOT / package).rglob("*.py")
    }
    arrows = {name: set[str]() for name in files if name != "sim_eval"}
    for name in arrows:
        for node in ast.walk(ast.parse(files[name].read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                # a package's own modules go through it for nothing
                arrows[name] |= {target for target in targets & arrows.keys() if not name.startswith(f"{target}.")}
    while leaves := [name for name, targets in arrows.items() if not targets & arrows.keys()]:
        for name in leaves:
            del arrows[name]
    assert not arrows
