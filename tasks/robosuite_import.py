"""Import robosuite 1.4.0 without its side effects on a headless machine.

By default, `import robosuite` forces EGL (and fails if no GL library is installed), opens a log file in the temporary
folder that another user may own, and warns about a private macro file that nobody needs.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tasks.compile_cache import ensure_cache
from tasks.mujoco_log import keep_log_out
from tasks.task import TaskError

#: The release that LIBERO and robomimic's published numbers need.
ROBOSUITE_VERSION = "1.4.0"


def load_robosuite() -> ModuleType:
    """The `robosuite` package, imported once per process without GL, log file or warning.

    Raises TaskError if robosuite is missing, another release, or lacks a library of the system.
    """
    if "robosuite" not in sys.modules:
        ensure_cache()
        with without_gl():
            _install_quiet_macros()
            robosuite = _imported()
            # robosuite's own `import robosuite.macros` found ours, so the attribute was never set on the package.
            robosuite.macros = sys.modules["robosuite.macros"]
    package = sys.modules["robosuite"]
    if package.__version__ != ROBOSUITE_VERSION:
        raise TaskError(f"robosuite {package.__version__} is installed; accepted: {ROBOSUITE_VERSION}")
    return package


def _imported() -> Any:
    """The package. It imports OpenCV, whose usual build opens windows and needs a desktop's libraries for it."""
    try:
        import robosuite
    except ImportError as error:
        if "cannot open shared object file" not in str(error):
            raise
        raise TaskError(
            f"robosuite cannot be imported: {error}; on a machine without a desktop: pip uninstall -y opencv-python, "
            "then pip install opencv-python-headless"
        ) from error
    return robosuite


@contextmanager
def without_gl() -> Iterator[None]:
    """Hide GL from mujoco and robosuite during their import: `tasks.rendering` opens its own context later."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        import mujoco  # noqa: F401 - its import reads MUJOCO_GL, so it has to happen here

        keep_log_out()
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before


def _install_quiet_macros() -> None:
    """Load robosuite's settings module before robosuite, with the log file and the forced EGL switched off."""
    package = importlib.util.find_spec("robosuite")
    if package is None or not package.submodule_search_locations:
        raise TaskError(f"robosuite is not installed; accepted: robosuite=={ROBOSUITE_VERSION}")
    path = os.path.join(package.submodule_search_locations[0], "macros.py")
    spec = importlib.util.spec_from_file_location("robosuite.macros", path)
    assert spec is not None
    assert spec.loader is not None
    macros: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    macros.FILE_LOGGING_LEVEL = None
    macros.MUJOCO_GPU_RENDERING = False
    sys.modules["robosuite.macros"] = macros
    # An empty private macro module: robosuite looks for it on import and warns three times if there is none.
    sys.modules["robosuite.macros_private"] = ModuleType("robosuite.macros_private")
