"""Atomic writing, locking and hashing of files."""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim_eval.foundation.errors import RunError


def expanded(text: str) -> Path:
    """The path, with the home folder in the place of a leading ~. Raises RunError where nobody knows that folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise RunError(f"the path {text} cannot be read: {error}; accepted: a path without ~") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path, with the suffix of `path`, that replaces `path` when the block ends without an error.

    If the process is killed before, the old file stays. Creates the folder. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Raises RunError if it cannot be written."""
    try:
        with replacing(path) as part:
            part.write_bytes(text.encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock on a file, created if needed; the lock ends with the process, even if that is killed.

    If another process holds the lock, raises RunError with the text `busy`, or waits without it. Also raises RunError
    if the file cannot be opened. Where the file system knows no locks, stderr is told once, and nothing is held.
    """
    try:
        handle = path.open("ab")
    except OSError as error:
        raise RunError(f"cannot write {path.parent}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise RunError(busy) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise RunError(f"cannot lock {path}: {error.strerror}") from None
            _warn_of_no_locks(os.fstat(handle.fileno()).st_dev, path.parent, str(error.strerror))
        yield


#: What flock answers on a file system that does not offer it, as some network and cluster file systems.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


@functools.cache
def _warn_of_no_locks(device: int, folder: Path, why: str) -> None:
    """Once for each folder of a device."""
    print(
        f"warning: {folder} cannot be locked ({why}): take care that no other process writes there meanwhile",
        file=sys.stderr,
    )


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_HERE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """The folder `name` of the suite: "configs", "checkpoints" or "results/sweeps"."""
    packaged = _HERE / "resources" / name
    return packaged if packaged.is_dir() else _HERE.parent / name
