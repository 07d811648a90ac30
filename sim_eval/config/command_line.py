"""Options from the command line: `option=value`, composed by Hydra's structured configs.

Hydra's grammar reads numbers, switches and lists of numbers. Names, paths and texts are taken as they are typed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from sim_eval.config.options import Choice, Given, Option, Text, built, options_of
from sim_eval.config.values import did_you_mean, parsed, shown, unquoted
from sim_eval.foundation.errors import RunError

T = TypeVar("T")


def read(kind: type[T], arguments: Sequence[str], **fixed: Any) -> T:
    """The dataclass from arguments `option=value`; `fixed`: its fields that are no options.

    Raises RunError naming the option, its value and what is accepted.
    """
    found = given(kind, arguments)
    found.update(fixed)
    return built(kind, found)


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
