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


def help_text(kind: type, usage: str) -> str:
    """Usage, the command's own options, then those of the groups that it shares with others."""
    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    groups: dict[str, list[Option]] = {}
    for declared in options_of(kind).values():
        groups.setdefault(_heading(declared.group, kind), []).append(declared)
    own = _heading(kind, kind)
    lines = [f"usage: {usage}"]
    for heading in [*([own] if own in groups else []), *(name for name in groups if name != own)]:
        lines += ["", *textwrap.wrap(heading, width)]
        for declared in groups[heading]:
            lines += _entry(f"{declared.name}={_default(declared.default)}", declared.help, width)
    if issubclass(kind, SamplerOptions):
        lines += _samplers(width)
    return "\n".join(lines)


def _heading(group: type, kind: type) -> str:
    """The first sentence of what declares the options."""
    text = " ".join((group.__doc__ or "").partition("\n\n")[0].split())
    first = text.partition(". ")[0].rstrip(".")
    return "Options" if group is kind or (issubclass(kind, group) and not first) else first


def _default(default: object) -> str:
    if isinstance(default, Choice):
        return "" if default.value is None else str(default.value)
    if isinstance(default, tuple):
        return ",".join(map(shown, default)) or "[]"
    return shown(default)


def _entry(option: str, meaning: str, width: int) -> list[str]:
    """An option and its meaning, which begins on the same line if there is room."""
    wrapped = textwrap.wrap(meaning, width - _COLUMN, break_long_words=False, break_on_hyphens=False)
    if len(option) + 4 > _COLUMN:
        return [f"  {option}", *(" " * _COLUMN + line for line in wrapped)]
    return [f"  {option:<{_COLUMN - 2}}{wrapped[0]}", *(" " * _COLUMN + line for line in wrapped[1:])]


def _samplers(width: int) -> Iterator[str]:
    """Each shipped sampler with its options; what an option means is said once."""
    yield from ("", "The samplers that ship, and sampler.NAME.OPTION=VALUE of each")
    for name in SHIPPED:
        form = form_of(name)
        fields = ", ".join(f"{field}={shown(default)}" for field, (_, default) in form.fields.items())
        yield from _entry(name, f"{form.summary} {fields}", width)
    yield from ("", "Options of samplers")
    for field, meaning in MEANINGS.items():
        yield from _entry(field, meaning, width)
