"""A folder for what numba compiles, where it would find none: without one it refuses to compile at all."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_VARIABLE = "NUMBA_CACHE_DIR"


def ensure_cache() -> None:
    """Name a folder below the temporary one to numba, here and in child processes, where it has none of its own.

    numba keeps its results beside the compiled files, else in the user's cache. A user without a home, as in a
    container that is run as another user, has none; for one whose home nobody knows, numba makes a folder called ~.
    """
    if os.environ.get(_VARIABLE) or all(map(_writable, _beside())) or _writable(_users()):
        return
    folder = Path(tempfile.gettempdir()) / f"sim-eval-numba-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # what is compiled there is executed
        folder = Path(tempfile.mkdtemp(prefix="sim-eval-numba-"))
    os.environ[_VARIABLE] = str(folder)
    numba: Any = sys.modules.get("numba")
    if numba is not None:  # it has read the environment already
        numba.config.CACHE_DIR = str(folder)


def _beside() -> Iterable[Path]:
    """Where numba keeps what it compiles of this package, and of robosuite."""
    yield Path(__file__).parent / "__pycache__"
    spec = importlib.util.find_spec("robosuite")
    if spec is not None and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "utils" / "__pycache__"


def _users() -> Path:
    """Where numba keeps what it compiles for a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _writable(folder: Path) -> bool:
    """Whether files can be written in the folder, which is created if need be."""
    if not folder.is_absolute():  # ~, where nobody knows the home
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
