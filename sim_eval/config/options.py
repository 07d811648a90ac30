"""Options of the commands: fields of typed dataclasses, each with its default, its meaning and what it accepts.

A command's options are one dataclass, and the groups that commands share are its bases. Hydra's structured configs
compose numbers, switches and lists of numbers from `option=value`. Names, paths and texts are taken as they are typed.

    @dataclass(frozen=True, kw_only=True)
    class Options(EngineOptions):
        episodes: int = option(50, "paired episodes of each sampler", least=1)
        output: Path | None = option(None, "run folder")

    read(Options, ["episodes=20"]).episodes
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from sim_eval.config.values import check_path, did_you_mean, one_of, parsed, shown, unquoted
from sim_eval.errors import RunError

T = TypeVar("T")


class Text(str):
    """A value of a component's option as it was typed on the command line; the component says how to read it."""


@dataclass(frozen=True)
class Choice:
    """A component as an option names it: its name or the built object, and the options to build it, `NAME.OPTION`."""

    value: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class _Kind:
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


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _listed(text: str) -> tuple[str, ...]:
    """The names of a list, with brackets or without."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return tuple(unquoted(name.strip()) for name in inner.split(",") if name.strip())


#: By annotation.
_KINDS = {
    "int": _Kind("a whole number", int),
    "float": _Kind("a number", float),
    "bool": _Kind("true or false", bool),
    "tuple[int, ...]": _Kind("whole numbers, such as 1,2", list[int]),
    "tuple[float, ...]": _Kind("numbers, such as 0.5,1", list[float]),
    "str": _Kind("a name", of=unquoted),
    "Path": _Kind("a path", of=lambda text: _path(unquoted(text))),
    "Choice": _Kind("a name", of=lambda text: Choice(unquoted(text))),
    "tuple[str, ...]": _Kind("names, such as a,b", of=_listed),
    "tuple[Path, ...]": _Kind("paths, such as a,b", of=lambda text: tuple(map(_path, _listed(text)))),
}


@dataclass(frozen=True)
class Option:
    """What a field declares. `kind`: the annotation of what is typed, where the field's own is what it becomes."""

    name: str
    default: Any
    help: str
    kind: _Kind
    nullable: bool
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    entries: int  # at least so many in a list
    group: type  # the dataclass that declares it

    @property
    def passes_on(self) -> bool:
        """Whether `NAME.OPTION=VALUE` is an option of what it names."""
        return self.kind is _KINDS["Choice"]

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
                    kind=_KINDS[annotation.removesuffix(" | None")],
                    nullable=annotation.endswith(" | None"),
                    group=home,
                    **told,
                ),
            )


class Given(dict[str, Any]):
    """Every option's value by name, typed. `resolve` replaces values by what they stand for; `named`: those given."""

    named: tuple[str, ...] = ()


def read(kind: type[T], arguments: Sequence[str], **fixed: Any) -> T:
    """The dataclass from arguments `option=value`; `fixed`: its fields that are no options.

    Raises RunError naming the option, its value and what is accepted.
    """
    found = given(kind, arguments)
    found.update(fixed)
    return built(kind, found)


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
            return _path(str(value)) if kind is _KINDS["Path"] else kind.of(str(value))
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


def given(kind: type, arguments: Sequence[str]) -> Given:
    """Every option's typed value. Raises RunError for unknown options and values of another kind."""
    known = options_of(kind)
    found = Given({name: declared.default for name, declared in known.items()})
    overrides: dict[str, str] = {}
    passed: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise RunError(f"{argument} is not understood; options are written name=value (see --help)")
        head, dot, rest = name.partition(".")
        if name not in known and dot and head in known and known[head].passes_on:
            _nest(passed.setdefault(head, {}), rest, text)
        elif name not in known:
            raise RunError(_unknown(name, argument, known))
        elif known[name].nullable and text == "null":
            found[name] = None
            overrides.pop(name, None)
        elif known[name].kind.hydra is None:
            found[name] = _text(known[name], text)
        else:
            overrides[name] = _override(known[name], text)
    composed = _composed(kind, tuple(overrides.values()))
    for name in overrides:
        value = OmegaConf.select(composed, name)
        found[name] = tuple(value) if known[name].kind.entries is not None else value
    for head, options in passed.items():
        found[head] = dataclasses.replace(found[head] or Choice(), options=options)
    found.named = tuple(argument.partition("=")[0] for argument in arguments)
    return found


def _unknown(name: str, argument: str, known: Mapping[str, Option]) -> str:
    inside = [other for other in known if other.startswith(f"{name}.")]
    if inside:
        return f"{argument}: {name} is a group of options; accepted: {', '.join(inside)}"
    return f"unknown option {name}; accepted: {', '.join(known)}{did_you_mean(name, known)}"


def _nest(options: dict[str, Any], name: str, text: str) -> None:
    """Put a component's option a.b into {"a": {"b": text}}."""
    head, dot, rest = name.partition(".")
    if dot and isinstance(options.setdefault(head, {}), dict):
        _nest(options[head], rest, text)
    else:
        options[head] = Text(text)


def _text(declared: Option, text: str) -> Any:
    """The value of an option that is not parsed."""
    kind = declared.kind
    assert kind.of is not None
    if not unquoted(text):
        raise RunError(f"{declared.name} is empty; accepted: {kind.accepted}")
    return kind.of(text)


def _override(declared: Option, text: str) -> str:
    """The argument for Hydra, whose value is of the option's kind."""
    is_list = declared.kind.entries is not None
    written = f"[{text}]" if is_list and not text.startswith("[") else text
    value = parsed(declared.name, written, declared.kind.accepted)
    if not declared.kind.fits(value):
        raise RunError(f"{declared.name} is {shown(value)}; accepted: {declared.kind.accepted}")
    return f"{declared.name}={written}"


@functools.cache
def _stored(kind: type) -> str:
    """The name under which Hydra's ConfigStore has the numbers, switches and lists of a command."""
    name = f"sim_eval_{kind.__module__}_{kind.__qualname__}".replace(".", "_")
    ConfigStore.instance().store(name, _schema(kind))
    return name


def _schema(kind: type) -> type:
    fields: list[Any] = []
    for field in dataclasses.fields(kind):
        if "group" in field.metadata:
            inner = _schema(field.metadata["group"])
            fields.append((field.name, inner, dataclasses.field(default_factory=inner)))
        elif field.metadata and (declared := options_of(kind)[field.name]).kind.hydra is not None:
            start = functools.partial(_start, declared.default)
            fields.append((field.name, declared.kind.hydra | None, dataclasses.field(default_factory=start)))
    return dataclasses.make_dataclass(kind.__name__, fields)


def _start(default: Any) -> Any:
    """A default as Hydra's schema holds it."""
    return list(default) if isinstance(default, tuple) else default


@functools.cache  # Hydra takes 0.1 s
def _composed(kind: type, overrides: tuple[str, ...]) -> Any:
    if not overrides:
        return OmegaConf.create()
    with initialize(None, version_base="1.3"):
        return compose(_stored(kind), list(overrides))
