"""For the site: a docstring, which is plain text, as Markdown. Its lines `name: meaning` become a list."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ENTRY = re.compile(r"^(?:`?\w+`?(?:, )?)+: ")


class Lists(Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = listed(escaped(obj.docstring.value))


def escaped(text: str) -> str:
    """A docstring whose angle brackets are text, no tags."""
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(text.split("`")))


def listed(text: str) -> str:
    """A docstring with its `name: meaning` lines as list items; lines that continue one stay with it."""
    lines: list[str] = []
    within = False
    for line in text.splitlines():
        if _ENTRY.match(line):
            names, _, meaning = line.partition(": ")
            if not within and lines and lines[-1]:
                lines.append("")
            lines.append(f"- `{names.replace('`', '')}`: {meaning}".replace(", ", "`, `", names.count(", ")))
            within = True
        else:
            within = within and bool(line.strip())
            lines.append(f"  {line.strip()}" if within else line)
    return "\n".join(lines)
