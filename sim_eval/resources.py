"""Where the suite's data is: next to the packages in a checkout, inside this package in a wheel."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """The folder `name` of the suite: "configs", "checkpoints" or "results/sweeps"."""
    packaged = _HERE / "resources" / name
    return packaged if packaged.is_dir() else _HERE.parent / name
