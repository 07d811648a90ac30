"""LIBERO's assets for tests: $LIBERO_ASSETS, else the folder shared/libero_assets beside the repository."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tasks.libero_assets import PARTS, VARIABLE
from tasks.libero_suites import SUITES

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "libero_assets"
ASSETS = Path(os.environ.get(VARIABLE) or SHARED)

needs_assets = pytest.mark.skipif(not ASSETS.is_dir(), reason=f"no LIBERO assets: {ASSETS} is no folder")


def folder_of_assets(folder: Path) -> Path:
    """The folder, made to look like LIBERO's assets to whoever only looks for them."""
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    return folder


def marked(names: Iterable[str]) -> list[ParameterSet]:
    """Task names as parameters: LIBERO's need the assets, and its two suites of longer tasks are slow."""
    slow = ("libero_10", "libero_90")
    return [
        pytest.param(
            name, marks=[*([needs_assets] if name in SUITES else []), *([pytest.mark.slow] if name in slow else [])]
        )
        for name in names
    ]
