"""For the site: the lines `name: meaning` of a docstring as a list, which they are in the source."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ENTRY = re.compile(r"^(?:`?\w+`?(?:, )?)+: ")


class Lists(Extension):  # type: ignore[misc]
    """Turns such lines into list items; lines that continue one stay with it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """A docstring with its `name: meaning` lines as Markdown's list items."""
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
