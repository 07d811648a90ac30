"""Import LIBERO's environments without the imports that they do not need.

`libero.libero.envs` imports gymnasium, matplotlib and its own process pool, and `libero.libero` reads paths from a
file in the home folder. An empty package with the same search path replaces the first; the path of the meshes is set
in the second.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.libero_files import package_root
from tasks.robosuite_import import load_robosuite
from tasks.task import TaskError


def load_libero(assets: Path) -> ModuleType:
    """LIBERO's module `bddl_base_domain`, whose `TASK_MAPPING` holds the environment classes.

    They read their meshes from `assets`; a later call in the same process cannot change that. If the real package is
    already imported, it is used as it is. Raises TaskError for packages that exclude each other.
    """
    load_robosuite()
    if "libero.libero.envs" not in sys.modules:
        root = package_root()
        try:
            package: Any = importlib.import_module("libero.libero")
        except ImportError as conflict:
            raise TaskError(str(conflict)) from None
        package.get_libero_path = {"assets": str(assets)}.__getitem__
        environments = ModuleType("libero.libero.envs")
        environments.__path__ = [str(root / "envs")]
        sys.modules["libero.libero.envs"] = environments
        importlib.import_module("libero.libero.envs.problems")
        importlib.import_module("libero.libero.envs.robots")
    return importlib.import_module("libero.libero.envs.bddl_base_domain")
