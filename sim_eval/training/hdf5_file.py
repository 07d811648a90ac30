"""HDF5 files that anybody may have written: kinds, shapes and sizes are checked before an array is read.

HDF5 has links into other files, and arrays whose rows lie in other files. None is followed: one may lead to a pipe,
whose reader waits for ever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sim_eval.foundation.bounded import parse_json
from sim_eval.foundation.errors import RunError

#: Values in one array: an episode of 10,000 steps may have 5,000 numbers a step. A file of a few bytes can name more.
_MOST_VALUES = 50_000_000
_MOST_MEMBERS = 1_000_000
#: Bytes in the memory for each byte in the file, of an array beyond the first bytes: compressed numbers take a tenth.
#: What was never written takes nothing there, so a small file can name many arrays that fill the memory together.
_MOST_EXPANDED, _FREE_BYTES = 100, 2**16
#: The longest that a file may take to be read once, in seconds, and what of it a reader touches.
_LONGEST_S = 300
_ATTRIBUTES = ("env_args", "policy_sha256", "stride", "success", "total")
_LEVELS = 4
#: What h5py raises for a damaged file, by the error of the library below it.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)


class DatasetError(RunError):
    """A demonstration file is missing, unreadable or of another layout; the message names the file and the field."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file with a group `data`. Raises DatasetError for any other, and for damage that is met while it is open."""
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; a robomimic HDF5 file is expected")
    try:
        file = h5py.File(path, "r")
    except DAMAGE as error:
        raise DatasetError(f"{path}: not a readable HDF5 file ({error})") from error
    with file:
        if not holds(path, file, "data") or not isinstance(member(path, file, "data"), h5py.Group):
            raise DatasetError(f"{path}: no group 'data'; robomimic's layout is data/demo_k/obs, actions, rewards")
        yield file


def names_in(path: Path, group: h5py.Group) -> list[str]:
    """The names of a group's members. Raises DatasetError if they cannot be read."""
    try:
        if len(group) > _MOST_MEMBERS:
            raise DatasetError(f"{path}: {group.name} has {len(group)} members; accepted: {_MOST_MEMBERS}")
        return [str(name) for name in group]
    except RunError:
        raise
    except DAMAGE as error:
        raise DatasetError(f"{path}: {group.name} cannot be read ({error})") from None


def holds(path: Path, group: h5py.Group, name: str) -> bool:
    """Whether the group has a member of this name, wherever it leads; `name in group` would follow a link."""
    try:
        return bool(group.id.links.exists(name.encode(errors="surrogateescape")))
    except DAMAGE as error:
        raise DatasetError(f"{path}: {group.name} cannot be read ({error})") from None


def member(path: Path, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A member of a group. Raises DatasetError for a link to elsewhere, and for one that cannot be read."""
    where = f"{path}: {group.name.rstrip('/')}/{name}"
    try:
        link = group.id.links.get_info(name.encode(errors="surrogateescape"))
        if link.type != h5py.h5l.TYPE_HARD:
            raise DatasetError(f"{where} is a link; accepted: what lies in the file itself")
        found = group[name]
    except RunError:
        raise
    except DAMAGE as error:
        raise DatasetError(f"{where} cannot be read ({error})") from None
    return found


def group_in(path: Path, group: h5py.Group, name: str) -> h5py.Group:
    """A member that is a group. Raises DatasetError for any other."""
    found = member(path, group, name)
    if not isinstance(found, h5py.Group):
        raise DatasetError(f"{path}: {group.name}/{name} is no group")
    return found


def array_in(path: Path, group: h5py.Group, name: str, by_row: bool = False) -> h5py.Dataset:
    """A member that is an array of numbers in the file itself; nothing of it is read.

    `by_row`: its rows are read one at a time, and may be texts. Raises DatasetError for another kind, without a first
    axis, or of more than 50 million values that are read at once.
    """
    where = f"{path}: {group.name}/{name}"
    found = member(path, group, name)
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{where} is no array")
    try:
        shape, kind, elsewhere = found.shape, found.dtype, found.is_virtual or found.external
        stored = found.id.get_storage_size()
        is_text = h5py.check_string_dtype(kind) is not None
    except DAMAGE as error:
        raise DatasetError(f"{where} cannot be read ({error})") from None
    if elsewhere:
        raise DatasetError(f"{where} lies in another file; accepted: what lies in the file itself")
    if not (by_row and is_text) and (kind.kind not in "fiub" or kind.itemsize > 8):
        raise DatasetError(f"{where} holds {kind}; accepted: numbers{' or texts' if by_row else ''}")
    if not shape or np.prod([float(size) for size in shape[by_row:]]) > _MOST_VALUES:
        raise DatasetError(f"{where} has the shape {shape}; accepted: a row for each step, {_MOST_VALUES} values")
    size = float(np.prod([float(each) for each in shape])) * kind.itemsize
    if not by_row and size > _FREE_BYTES + _MOST_EXPANDED * stored:
        raise DatasetError(f"{where} has {size:.0f} bytes of which the file stores {stored}; accepted: what is stored")
    return found


def values_of(path: Path, array: h5py.Dataset) -> np.ndarray:
    """All values of an array that `array_in` has checked. Raises DatasetError if they cannot be read."""
    try:
        return np.asarray(array[:])
    except DAMAGE as error:
        raise DatasetError(f"{path}: {array.name} cannot be read ({error})") from None


def attribute(path: Path, group: h5py.Group, name: str) -> Any:
    """A number or a text, None if there is none. Raises DatasetError for any other attribute."""
    try:
        if name not in group.attrs:
            return None
        value = group.attrs[name]
        plain = value.decode() if isinstance(value, bytes) else value
    except DAMAGE as error:
        raise DatasetError(f"{path}: attribute {name} of {group.name} cannot be read ({error})") from None
    plain = plain.item() if isinstance(plain, np.generic) else plain
    if not isinstance(plain, str | int | float):
        told = " ".join(repr(plain).split())
        raise DatasetError(f"{path}: attribute {name} of {group.name} is {told:.80}; accepted: a number or a text")
    return plain


def env_args(path: Path, file: h5py.File) -> Mapping[str, Any]:
    """What robomimic's attribute `env_args` says of the environment; empty without it. Raises DatasetError."""
    stored = attribute(path, group_in(path, file, "data"), "env_args")
    if stored is None:
        return {}
    try:
        content = parse_json(
            json.dumps(stored).encode() if not isinstance(stored, str) else stored.encode(), "env_args"
        )
    except (RunError, UnicodeEncodeError) as error:
        raise DatasetError(f"{path}: attribute env_args of /data: {error}") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: attribute env_args of /data is {stored!r:.80}; accepted: a JSON object")
    return content


def check_readable(path: Path) -> None:
    """Read the file once in another process: the HDF5 library itself crashes on some damage, which nothing can catch.

    It takes half a second. Raises DatasetError if that process crashes, or waits longer than `_LONGEST_S`.
    """
    code = "import sys; from sim_eval.training.hdf5_file import walk; walk(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, timeout=_LONGEST_S
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(f"{path}: reading it takes longer than {_LONGEST_S} s") from None
    if ended.returncode < 0:
        raise DatasetError(f"{path}: not a readable HDF5 file (it crashes the HDF5 library)")


def walk(name: str) -> None:
    """Touch everything that a reader of the file `name` may touch. Its errors are told when the file is read."""
    path = Path(name)
    with suppress(RunError), opened(path) as file:
        waiting = [group_in(path, file, "data")]
        while waiting:
            group = waiting.pop()
            for key in _ATTRIBUTES:
                with suppress(RunError):
                    attribute(path, group, key)
            for key in names_in(path, group):
                with suppress(RunError):
                    found = member(path, group, key)
                    if isinstance(found, h5py.Group) and group.name.count("/") <= _LEVELS:
                        waiting.append(found)
                    elif array_in(path, group, key).ndim <= 2:  # pictures are read one at a time
                        values_of(path, found)
