"""LIBERO's init files: simulator states in a pickle, read without running what a pickle can carry."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tasks.task import TaskError

#: The archive member that holds the array; `torch.save` wrote it.
_MEMBER = "archive/data.pkl"
#: All that the pickle of a numpy array refers to; numpy 2 has moved its own two.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("_codecs", "encode"): ("_codecs", "encode"),
}


def read_init_states(path: Path, nq: int, nv: int) -> np.ndarray:
    """The file's states, (n, 1 + nq + nv) float64: time (s), then qpos, then qvel.

    Raises TaskError for a file that holds anything but states of this size.
    """
    states = _read_array(path)
    if not isinstance(states, np.ndarray) or states.ndim != 2 or not np.isfinite(states).all():
        raise TaskError(f"init file {path} holds no table of finite states")
    width = 1 + nq + nv
    if states.shape[1] != width:
        raise TaskError(
            f"init file {path.name} belongs to another task: its states have {states.shape[1]} numbers; "
            f"accepted: {width}"
        )
    return states.astype(np.float64)


def _read_array(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as member:
            return _ArrayUnpickler(member).load()
    except (OSError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as problem:
        raise TaskError(f"init file {path} cannot be read: {problem}") from None


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and nothing else, so that a file from elsewhere cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no array of states needs")
        return super().find_class(*_ALLOWED[module, name])
