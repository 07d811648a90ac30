"""Versions of installed packages."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable


def installed_version(package: str) -> str | None:
    """Version of an installed package, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Name to version; packages that are not installed are left out."""
    return {package: version for package in packages if (version := installed_version(package)) is not None}
