"""Command-line options through Hydra's compose interface, checked before anything else runs.

Hydra's application decorator changes folders, writes logs and prints tracebacks. Composing keeps the configuration
files and the `name=value` syntax, and every user error is one line.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AnchorToken, MappingNode, YAMLError, scan  # type: ignore[import-untyped]
from yaml import compose as yaml_nodes

from sim_eval.config.values import did_you_mean, shown
from sim_eval.errors import RunError
from sim_eval.files import resource

CONFIGS = resource("configs")

#: What a component may be besides a name, for messages and help.
TARGETS = "package.module:NAME, ./file.py:NAME"

#: Options that name a component. Options such as policy.size=3 are passed on to it.
_COMPONENTS = ("task", "policy", "critic", "posterior")

#: Options whose value Hydra does not parse, so that no character in a path or name is special.
_LITERAL = (*_COMPONENTS, "output", "checkpoints", "results", "data", "strengths")

#: By the type of an option's default: the types that the option accepts, and their name.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str, int, float), "a name"),
    ListConfig: ((ListConfig,), "a list such as [a,b]"),
}


def compose(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """configs/<name>.yaml with the arguments `option=value` applied, as plain values.

    Besides the file's options: `given`, the names of the options on the command line, and `passed_on`, the options of
    components, such as {"policy": {"size": 3}}. Raises RunError for an argument without `=`, an unknown option, and a
    value whose type differs from the default's; a default of null accepts any value.
    """
    default = _composed(name)
    leaves = _leaves(default)
    literal: dict[str, Any] = {}
    passed_on, overrides = [], {}
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if not equals or not option:
            raise RunError(f"{argument} is not understood; options are written name=value (see --help)")
        if option == "samplers" and option in leaves:
            literal["samplers"] = _names(value)
        elif option == "sampler" and isinstance(default.get("sampler"), DictConfig):
            literal["samplers"] = [_bare(value)]
        elif option in _LITERAL and option in leaves and not isinstance(default[option], ListConfig):
            literal[option] = _literal(option, value, default[option])
        elif _is_passed_on(option, default, leaves):
            passed_on.append(argument)
        else:
            _check_option(leaves, option, argument)
            overrides[option] = argument
    config = _composed(name, *overrides.values())
    for option in overrides:
        _check_type(option, OmegaConf.select(default, option), OmegaConf.select(config, option))
    given = [argument.partition("=")[0] for argument in arguments]
    return {**_plain(config), **literal, "passed_on": _typed(passed_on), "given": given}


def help_text(name: str, usage: str) -> str:
    """The usage line, then each option with its default and its meaning, which is the comment in the file."""
    default = _composed(name)
    included = [file for file in load_yaml(CONFIGS / f"{name}.yaml").get("defaults", []) if file != "_self_"]
    meanings: dict[str, str] = {}
    for file in (*included, name):
        text = (CONFIGS / f"{file}.yaml").read_text()
        meanings |= _comments(yaml_nodes(text), text.splitlines())
    lines = [f"usage: {usage}", ""]
    for leaf in _leaves(default):
        option = f"{leaf}={shown(OmegaConf.select(default, leaf))}"
        lines.append(f"  {option:<35} {meanings[leaf]}")
    return "\n".join(lines)


def _comments(group: MappingNode, lines: Sequence[str], prefix: str = "") -> dict[str, str]:
    """The comment on the line of each option in a YAML file's mapping, empty if none; in groups, as group.option."""
    found: dict[str, str] = {}
    for key, value in group.value:
        option = f"{prefix}{key.value}"
        if isinstance(value, MappingNode):
            found |= _comments(value, lines, f"{option}.")
        else:
            found[option] = lines[key.start_mark.line].partition("  # ")[2]
    return found


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises RunError if it cannot be read or is not a mapping."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise RunError(f"{path} is no file")
    try:
        text = path.read_text()
        if "&" in text and any(isinstance(token, AnchorToken) for token in scan(text)):
            raise RunError(f"{path} has a YAML anchor; accepted: plain values")  # a few lines can stand for millions
        content = OmegaConf.load(io.StringIO(text))
    except (YAMLError, OSError, UnicodeDecodeError, RecursionError, OmegaConfBaseException) as error:
        raise RunError(f"{path} cannot be read: {[*str(error).splitlines(), 'no reason given'][0]}") from None
    if not isinstance(content, DictConfig):
        raise RunError(f"{path} is not a mapping of options")
    return _plain(content)


def folder(value: str | Path) -> Path:
    """The value of an option that takes a path, `~` expanded."""
    return Path(value).expanduser()


def _is_passed_on(option: str, default: DictConfig, leaves: Sequence[str]) -> bool:
    """Whether the option is a component's, not one in the configuration files."""
    head, dot, rest = option.partition(".")
    if head == "sampler" and "sampler" in default:
        return bool(dot) and rest.partition(".")[0] not in default.sampler
    return bool(dot) and head in _COMPONENTS and head in leaves


def _names(value: str) -> list[str] | None:
    if value == "null":
        return None
    if not (value.startswith("[") and value.endswith("]")):
        raise RunError(f"samplers is {value}; accepted: a list such as [a,b]")
    return [_bare(name.strip()) for name in value[1:-1].split(",") if name.strip()]


def _literal(option: str, value: str, default: object) -> str | None:
    """A path or a name."""
    if value == "null" and default is None:
        return None
    if not _bare(value):
        raise RunError(f"{option} is empty; accepted: {'a name' if option in _COMPONENTS else 'a path'}")
    return _bare(value)


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _typed(arguments: list[str]) -> dict[str, Any]:
    """Options of components, typed as YAML types them, and nested where they hold dots."""
    try:
        return _plain(OmegaConf.from_dotlist(arguments))
    except (YAMLError, OmegaConfBaseException) as error:
        raise RunError(f"{' '.join(arguments)} cannot be read: {str(error).splitlines()[0]}") from None


@functools.cache  # Hydra takes 0.1 s; without options a command composes the same twice
def _composed(name: str, *overrides: str) -> DictConfig:
    """Do not change the result: the next caller gets the same object."""
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra_compose(name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        first_line = str(error).strip().split("\n", 1)[0]
        raise RunError(f"the options cannot be read, up to {overrides[-1]}: {first_line}") from None


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    return {str(option): value for option, value in plain.items()}


def _leaves(config: DictConfig, prefix: str = "") -> list[str]:
    """The options that hold a value, then those in groups, as group.option."""
    found, inside = [], []
    for key in map(str, config):
        if isinstance(config[key], DictConfig):
            inside.extend(_leaves(config[key], f"{prefix}{key}."))
        elif key != "_target_":
            found.append(f"{prefix}{key}")
    return found + inside


def _check_option(leaves: Sequence[str], option: str, argument: str) -> None:
    inside = [leaf for leaf in leaves if leaf.startswith(f"{option}.")]
    if inside:
        raise RunError(f"{argument}: {option} is a group of options; accepted: {', '.join(inside)}")
    if option not in leaves:
        raise RunError(f"unknown option {option}; accepted: {', '.join(leaves)}{did_you_mean(option, leaves)}")
    if "${" in argument:
        raise RunError(f"{argument}: nothing is interpolated; accepted: a plain value")


def _check_type(option: str, default: object, value: object) -> None:
    if default is None or (value is None and isinstance(default, ListConfig)):
        return
    types, accepted = _KINDS[type(default)]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise RunError(f"{option} is {shown(value)}; accepted: {accepted}")
