"""The text of `--help`: a command's options by group, with default and meaning, wrapped to the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from sim_eval.config.options import Choice, Option, options_of
from sim_eval.config.samplers import MEANINGS, SHIPPED, SamplerOptions, form_of
from sim_eval.config.values import shown

#: Where meanings begin.
_COLUMN = 28
_WIDEST = 110


def terminal_width() -> int:
    """Characters in a line of help."""
    return min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)


def help_text(kind: type, usage: str) -> str:
    """Usage, the command's own options, then those of the groups that it shares with others."""
    width = terminal_width()
    groups: dict[str, list[Option]] = {}
    for declared in options_of(kind).values():
        groups.setdefault(_heading(declared.group, kind), []).append(declared)
    own = _heading(kind, kind)
    lines = [f"usage: {usage}"]
    for heading in [*([own] if own in groups else []), *(name for name in groups if name != own)]:
        lines += ["", *textwrap.wrap(heading, width)]
        for declared in groups[heading]:
            lines += entry(_written(declared), declared.help, width)
    if issubclass(kind, SamplerOptions):
        lines += _samplers(width)
    return "\n".join(lines)


def _heading(group: type, kind: type) -> str:
    """The first sentence of what declares the options."""
    text = " ".join((group.__doc__ or "").partition("\n\n")[0].split())
    first = text.partition(". ")[0].rstrip(".")
    return "Options" if group is kind or (issubclass(kind, group) and not first) else first


def _written(declared: Option) -> str:
    """The option with its default, as it is typed."""
    default = declared.default
    if isinstance(default, Choice):
        return f"{declared.name}={default.value}" if default.value else f"{declared.name}.NAME.OPTION"
    if isinstance(default, tuple):
        return f"{declared.name}={','.join(map(shown, default)) or '[]'}"
    return f"{declared.name}={shown(default)}"


def entry(option: str, meaning: str, width: int, column: int = _COLUMN) -> list[str]:
    """An option and its meaning, which begins on the same line if there is room before `column`."""
    wrapped = textwrap.wrap(meaning, width - column, break_long_words=False, break_on_hyphens=False)
    if len(option) + 4 > column:
        return [f"  {option}", *(" " * column + line for line in wrapped)]
    return [f"  {option:<{column - 2}}{wrapped[0]}", *(" " * column + line for line in wrapped[1:])]


def _samplers(width: int) -> Iterator[str]:
    """Each shipped sampler with its options; what an option means is said once."""
    yield from ("", "The samplers that ship, and sampler.NAME.OPTION=VALUE of each")
    for name in SHIPPED:
        form = form_of(name)
        fields = ", ".join(f"{field}={shown(default)}" for field, (_, default) in form.fields.items())
        yield from entry(name, f"{form.summary} {fields}", width)
    yield from ("", "Options of samplers")
    for field, meaning in MEANINGS.items():
        yield from entry(field, meaning, width)
