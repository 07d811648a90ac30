"""Options of the commands: fields of typed dataclasses, each with its default, its meaning and what it accepts.

A command's options are one dataclass, and the groups that commands share are its bases.

    @dataclass(frozen=True, kw_only=True)
    class Options(EngineOptions):
        episodes: int = option(50, "paired episodes of each sampler", least=1)
        output: Path | None = option(None, "run folder")

`command_line.read` makes it from arguments, `from_values` from Python values.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sim_eval.config.values import check_path, did_you_mean, one_of, shown, unquoted
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import expanded

T = TypeVar("T")


class Text(str):
    """A value of a component's option as it was typed on the command line; the component says how to read it."""


@dataclass(frozen=True)
class Choice:
    """A component as an option names it: its name or the built object, and the options to build it, `NAME.OPTION`."""

    value: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """How a value is written: `hydra`, the type that Hydra parses it to, None for a text; `of` reads a text's parts."""

    accepted: str
    hydra: Any = None
    of: Callable[[str], Any] | None = None

    @property
    def entries(self) -> type | None:
        """The type of a list's entries; None if the value is no list."""
        return self.hydra.__args__[0] if hasattr(self.hydra, "__args__") else None

    def fits(self, value: object) -> bool:
        """Whether a parsed value is of this kind."""
        if self.entries is not None:
            return isinstance(value, list) and all(_is(entry, self.entries) for entry in value)
        return _is(value, self.hydra)


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _listed(text: str) -> tuple[str, ...]:
    """The names of a list, with brackets or without."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return tuple(unquoted(name.strip()) for name in inner.split(",") if name.strip())


#: By annotation.
KINDS = {
    "int": Kind("a whole number", int),
    "float": Kind("a number", float),
    "bool": Kind("true or false", bool),
    "tuple[int, ...]": Kind("whole numbers, such as 1,2", list[int]),
    "tuple[float, ...]": Kind("numbers, such as 0.5,1", list[float]),
    "str": Kind("a name", of=unquoted),
    "Path": Kind("a path", of=lambda text: expanded(unquoted(text))),
    "Choice": Kind("a name", of=lambda text: Choice(unquoted(text))),
    "tuple[str, ...]": Kind("names, such as a,b", of=_listed),
    "tuple[Path, ...]": Kind("paths, such as a,b", of=lambda text: tuple(map(expanded, _listed(text)))),
}


@dataclass(frozen=True)
class Option:
    """What a field declares. `kind`: the annotation of what is typed, where the field's own is what it becomes."""

    name: str
    default: Any
    help: str
    kind: Kind
    nullable: bool
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    entries: int  # at least so many in a list
    group: type  # the dataclass that declares it

    @property
    def passes_on(self) -> bool:
        """Whether `NAME.OPTION=VALUE` is an option of what it names."""
        return self.kind is KINDS["Choice"]

    def check(self, value: Any) -> None:
        """Raise RunError for a value of the right kind that is not accepted."""
        for entry in value if isinstance(value, tuple) else (value,):
            named = entry.value if isinstance(entry, Choice) else entry
            if isinstance(named, Path) or (isinstance(entry, Choice) and isinstance(named, str)):
                check_path(self.name, Path(named))  # a choice may name a file or a folder
            if self.choices and entry is not None:
                one_of(self.name, entry, self.choices)
            if isinstance(entry, int | float) and not isinstance(entry, bool):
                self._check_range(value, entry)
        if isinstance(value, tuple) and len(value) < self.entries:
            raise RunError(f"{self.name} is {shown(value)}; accepted: a list with at least one entry, such as [a,b]")

    def _check_range(self, value: object, number: float) -> None:
        least, most = self.least, self.most
        if (least is not None and number < least) or (most is not None and number > most):
            what = "a whole number" if self.kind.hydra in (int, list[int]) else "a finite number"
            accepted = f"{what} of at least {least:g}" if most is None else f"{least:g} to {most:g}"
            raise RunError(f"{self.name} is {shown(value)}; accepted: {accepted}")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    entries: int = 0,
    kind: str | None = None,
) -> Any:
    """A dataclass field that is an option.

    choices, least, most: what is accepted. entries: how many a list needs. kind: the annotation of the value as it is
    typed, if the field's own is what `resolve` makes of it; `Choice` for a component.
    """
    declared = {"help": help, "choices": tuple(choices), "least": least, "most": most, "entries": entries, "kind": kind}
    return dataclasses.field(default=default, metadata=declared)


def group(kind: type) -> Any:
    """A dataclass field whose options are those of the dataclass `kind`, as FIELD.OPTION."""
    return dataclasses.field(metadata={"group": kind})


def options_of(kind: type) -> dict[str, Option]:
    """The options of a dataclass by name, those of its groups as FIELD.OPTION."""
    return dict(_options(kind, ""))


def _options(kind: type, prefix: str) -> Iterator[tuple[str, Option]]:
    for field in dataclasses.fields(kind):
        if "group" in field.metadata:
            yield from _options(field.metadata["group"], f"{field.name}.")
        elif field.metadata:
            told = dict(field.metadata)
            annotation = str(told.pop("kind") or field.type)
            home = next(base for base in reversed(kind.__mro__) if field.name in vars(base).get("__annotations__", {}))
            yield (
                prefix + field.name,
                Option(
                    name=prefix + field.name,
                    default=field.default,
                    kind=KINDS[annotation.removesuffix(" | None")],
                    nullable=annotation.endswith(" | None"),
                    group=home,
                    **told,
                ),
            )


class Given(dict[str, Any]):
    """Every option's value by name, typed. `resolve` replaces values by what they stand for; `named`: those given."""

    named: tuple[str, ...] = ()


def from_values(kind: type[T], **values: Any) -> T:
    """The dataclass from Python values instead of texts. Raises RunError as `read`."""
    known = options_of(kind)
    found = Given({name: declared.default for name, declared in known.items()})
    fixed = {field.name for field in dataclasses.fields(kind)} - known.keys()  # type: ignore[arg-type]
    for name, value in values.items():
        if name in fixed:
            found[name] = value
            continue
        if name not in known:
            raise RunError(f"unknown option {name}; accepted: {', '.join(known)}{did_you_mean(name, known)}")
        found[name] = _value(known[name], value)
    found.named = tuple(values)
    return built(kind, found)


def _value(declared: Option, value: Any) -> Any:
    """A Python value as `read` would give it. Raises RunError for one of another kind."""
    kind = declared.kind
    if value is None and declared.nullable:
        return None
    if kind.hydra is None:
        if declared.passes_on:
            return value if isinstance(value, Choice) else Choice(value)
        if isinstance(value, str | Path | int) and not isinstance(value, bool):
            assert kind.of is not None
            return expanded(str(value)) if kind is KINDS["Path"] else kind.of(str(value))
        if isinstance(value, Sequence):
            return tuple(value)
    plain = list(value) if isinstance(value, tuple) else value
    if kind.hydra is None or not kind.fits(plain):
        raise RunError(f"{declared.name} is {shown(value)}; accepted: {kind.accepted}")
    return tuple(plain) if isinstance(plain, list) else plain


def built(kind: type[T], found: Given) -> T:
    """The dataclass of checked values.

    First each base's `prepare` may change them, then each base's `resolve` replaces them by what they stand for.
    """
    for name, declared in options_of(kind).items():
        declared.check(found[name])
    for hook in ("prepare", "resolve"):
        for base in reversed(kind.__mro__):
            if hook in vars(base):
                vars(base)[hook](found)
    return _filled(kind, found, "")


def _filled(kind: type[T], found: Mapping[str, Any], prefix: str) -> T:
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if "group" in field.metadata:
            values[field.name] = _filled(field.metadata["group"], found, f"{field.name}.")
        elif field.metadata or field.name in found:
            values[field.name] = found[prefix + field.name]
    return kind(**values)
