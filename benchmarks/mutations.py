"""Changes that a value or a file may suffer, drawn from a seed, for `benchmarks.attacks`."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Values of the wrong type, size or content. "MARK" becomes the path of a file that only executed code would make.
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 2**31, 2**63, 2**64, 10**18, 10**400, -(10**400), 0.5, -0.0, 1e308, -1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "\0", "\r", "a\rb", "\ud800", "\udcff", "\x1b[2J", "\u202e"),
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", "a" * 5000, "a" * 300, "<img src=x>", "${oc.env:HOME}", "=1+1"),
    *("os.system", "touch MARK", "__import__('os').system('touch MARK')", "$(touch MARK)", "NaN", "10", "eval", "tune"),
    *([], [[]], [None], ["a"], [1, "a"], [10**400], [float("nan")], {}, {"": 1}, {"a": {"b": {"c": None}}}),
    *({"class": "os.system", "config": {"command": "touch MARK"}}, {"_target_": "os.system", "command": "touch MARK"}),
    *([{"class": "subprocess.Popen", "config": {"args": ["touch", "MARK"]}}], list(range(1000)), ["x"] * 1000),
)


def deep(levels: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def change_value(content: Any, draw: random.Random, mark: Path) -> Any:
    """The content with one value replaced, removed, doubled or renamed, anywhere in it."""
    content = copy.deepcopy(content)
    places = [(content, key) for key in _keys(content)]
    for parent, key in places:  # grows while it is walked: every place at every depth
        places += [(parent[key], inner) for inner in _keys(parent[key])]
    nasty = draw.choice((*NASTY, deep(20), deep(200)))
    nasty = json.loads(json.dumps(nasty).replace("MARK", str(mark))) if "MARK" in repr(nasty) else nasty
    if not places or draw.random() < 0.03:
        return nasty
    parent, key = draw.choice(places)
    how = draw.random()
    if how < 0.1:
        del parent[key]
    elif how < 0.15 and isinstance(parent, dict):
        parent[draw.choice(("", "name", "class", "stats", "\0", "\ud800"))] = parent.pop(key)
    elif how < 0.2 and isinstance(parent, list):
        parent.append(parent[key])
    else:
        parent[key] = nasty
    return content


def change_bytes(content: bytes, draw: random.Random) -> bytes:
    """The content cut off, overwritten at some places, or with something put in between."""
    place = draw.randrange(len(content) + 1)
    how = draw.randrange(6)
    if how == 0:
        return content[:place]
    if how == 1:
        return (
            content[:place]
            + draw.choice((b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"[" * 5000))
            + content[place:]
        )
    if how == 2:
        return b"\xef\xbb\xbf" + content
    if how == 3:
        return content[:place] + content[place + draw.randrange(1, 100) :]
    changed = bytearray(content)
    for _ in range(draw.choice((1, 4, 64)) if content else 0):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _make_large(path: Path) -> None:
    """A file of 10 TB that takes no place on the disk."""
    path.touch()
    os.truncate(path, 10**13)


def change_file(path: Path, draw: random.Random) -> None:
    """Put something else in the place of a file: nothing, a folder, a pipe, a link in a circle, much or no content."""
    path.unlink()
    kinds: tuple[Callable[[], object], ...] = (
        lambda: None,
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/dev/zero"),
        path.touch,
        lambda: path.write_bytes(b"a: [1, 2, {b: c}]\n" * 600_000),
        lambda: _make_large(path),
    )
    draw.choice(kinds)()
