"""Import hf-libero's environments without what its packages do when they are imported.

Left alone, `import libero.libero` writes into ~/.libero and asks a question with input(), and `libero.libero.envs`
imports vectorised environments and a renderer with four packages that nothing here needs. Both packages' own
`__init__` are therefore left out: empty packages stand in for them, through which their modules are found.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.libero_suites import package_root
from tasks.robosuite_import import load_robosuite


def load_libero(assets: Path) -> ModuleType:
    """hf-libero's `bddl_base_domain`, whose `TASK_MAPPING` holds the environment classes; they read `assets`.

    Where the real packages are imported already, they are used as they are.
    """
    load_robosuite()
    if "libero.libero" not in sys.modules:
        _install_packages(package_root())
    package: Any = sys.modules["libero.libero"]
    package._assets_path_cache = str(assets)
    importlib.import_module("libero.libero.envs.problems")
    importlib.import_module("libero.libero.envs.robots")
    return importlib.import_module("libero.libero.envs.bddl_base_domain")


def _install_packages(root: Path) -> None:
    importlib.import_module("libero")
    package: Any = ModuleType("libero.libero")
    package.__path__ = [str(root)]
    # The two functions that hf-libero's modules import from this package.
    package.get_assets_path = lambda: package._assets_path_cache
    package.get_libero_path = lambda key: {"assets": package._assets_path_cache}[key]
    environments: Any = ModuleType("libero.libero.envs")
    environments.__path__ = [str(root / "envs")]
    sys.modules["libero.libero"] = package
    sys.modules["libero.libero.envs"] = environments
