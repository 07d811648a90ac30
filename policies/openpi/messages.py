"""The message format of openpi: msgpack maps with NumPy arrays. Nothing is ever unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

#: Element types that are read, in NumPy's notation: numbers and truth values, never objects or text.
_DTYPES = frozenset(["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"])
_MAX_DIMENSIONS = 8
#: Entries of a list and of a map. msgpack allocates a list before it reads the entries, whatever length is claimed.
_MAX_ENTRIES = 4096


class MessageError(ValueError):
    """A message that is not in openpi's format; the text says what is wrong with it in one line."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A mapping of strings, numbers, arrays, and lists and mappings of these, to bytes.

    Raises TypeError for anything else, arrays of objects included.
    """
    packed: bytes = msgpack.packb(message, default=_packable)
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """The value that `pack` packed; arrays are read-only. Raises MessageError for any other bytes."""
    try:
        message = msgpack.unpackb(
            data,
            object_hook=_unpacked,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except MessageError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MessageError(f"not in msgpack's format ({str(error) or type(error).__name__:.80})") from None
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise MessageError("not a mapping of names to values")
    return message


def _packable(value: object) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.str in _DTYPES:
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.str in _DTYPES:
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} has no place in a message")


def _unpacked(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value.get(b"data"), _dtype(value), value.get(b"shape"))
    if b"__npgeneric__" in value:
        return _scalar(value.get(b"data"), _dtype(value))
    return value


def _dtype(value: Mapping[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    if not isinstance(name, str) or name not in _DTYPES:
        raise MessageError(f"an array's dtype is {name!r:.40}; accepted: {', '.join(sorted(_DTYPES))}")
    return np.dtype(name)


def _array(data: object, dtype: np.dtype[Any], shape: object) -> np.ndarray:
    whole = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    if not whole or len(shape) > _MAX_DIMENSIONS:  # type: ignore[arg-type]
        raise MessageError(f"an array's shape is {shape!r:.80}; accepted: a list of at most {_MAX_DIMENSIONS} sizes")
    sizes: list[int] = list(shape)  # type: ignore[call-overload]
    length = len(data) if isinstance(data, bytes) else -1
    if length != math.prod(sizes) * dtype.itemsize:
        raise MessageError(f"an array of shape {sizes} and dtype {dtype.str} does not have its number of bytes")
    return np.frombuffer(data, dtype).reshape(sizes)  # type: ignore[call-overload]


def _scalar(data: object, dtype: np.dtype[Any]) -> bool | int | float:
    if not isinstance(data, bool | int | float):
        raise MessageError(f"a number is a {type(data).__name__}")
    return data
