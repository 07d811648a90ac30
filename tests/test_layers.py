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
