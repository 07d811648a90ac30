"""Command-line options through Hydra's compose interface, checked before anything else runs.

Hydra's own application decorator changes folders, writes logs and prints tracebacks; composing here instead keeps the
configuration files and the `name=value` syntax, and gives every mistake one line.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from sim_eval.config.plugins import component
from sim_eval.config.values import did_you_mean, shown
from sim_eval.errors import RunError
from sim_eval.resources import resource

CONFIGS = resource("configs")

#: What a component may be beside a name, for messages and help.
TARGETS = "package.module:NAME, ./file.py:NAME"

#: Options whose value Hydra never reads, so that nothing in a path means anything.
_LITERAL = ("output", "checkpoints", "results", "data", "strengths", "policy", "critic", "posterior")

#: Options of these, such as policy.size=3, are passed on to a component from outside the suite.
_PASSED_ON = ("policy", "critic", "posterior")


@dataclass
class _Arguments:
    """The command line, sorted: group choices, Hydra's options as (option, argument), and what Hydra never reads."""

    picked: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    literal: dict[str, Any] = field(default_factory=dict)
    passed_on: list[str] = field(default_factory=list)


def choices(group: str) -> list[str]:
    """The names that a configuration group offers."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def compose(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """configs/<name>.yaml with the arguments `option=value` or `group=choice` applied, as plain values.

    Beside the file's options: `given`, the names of those on the command line, and `passed_on`, the options of
    components from outside the suite, such as {"policy": {"size": 3}}. A task from outside is a mapping of name,
    target and options. Raises RunError for an argument without `=`, an unknown option or choice, and a value of
    another type than the default's; a default of null takes any value.
    """
    sorted_out = _split(name, arguments)
    # Samplers form a group of which every file is loaded, so that a new one needs no entry elsewhere.
    every = [f"sampler=[{','.join(choices('sampler'))}]"] if "sampler" in _groups(name) else []
    picked = [*every, *sorted_out.picked]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        default = _composed(name, *picked)
        for option, argument in sorted_out.options:
            _check_option(name, default, option, argument)
        config = _composed(name, *picked, *(argument for _, argument in sorted_out.options))
    for option, _ in sorted_out.options:
        _check_type(option, OmegaConf.select(default, option), OmegaConf.select(config, option))
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    passed_on = _typed(sorted_out.passed_on)
    values: dict[str, Any] = {str(key): value for key, value in plain.items()} | sorted_out.literal
    if "task" in sorted_out.literal:
        task = component("task", values["task"], passed_on.pop("task", {}), choices("task"))
        values["task"] = {"name": task.label, "target": task.target, "options": task.options}
    given = [argument.partition("=")[0] for argument in arguments]
    return {**values, "passed_on": passed_on, "given": given}


def help_text(name: str, usage: str) -> str:
    """The usage line, the groups with their choices, and the options with defaults and meaning."""
    lines = [f"usage: {usage}", ""]
    groups = _groups(name)
    if "task" in groups:
        lines.append(_option(f"task={groups['task']}", f"one of {', '.join(choices('task'))}, {TARGETS}"))
    _, options = _sections(name)
    for line in options:
        option, _, meaning = line.partition("  # ")
        lines.append(_option(option.replace(": ", "=", 1).replace(", ", ","), meaning))
    if "task" in groups:
        lines += ["", *_task_options()]
    if "sampler" in groups:
        lines.append("")
        for sampler in choices("sampler"):
            lines += [
                _option(f"sampler.{sampler}.{option}", meaning) for option, meaning in _fields("sampler", sampler)
            ]
    return "\n".join(lines)


def _task_options() -> list[str]:
    """The options of every task, each with the tasks that take it."""
    takers: dict[tuple[str, str], list[str]] = {}
    for task in choices("task"):
        for option, meaning in _fields("task", task):
            takers.setdefault((f"task.{option}", meaning), []).append(task)
    every = len(choices("task"))
    return [
        _option(option, meaning if len(tasks) == every else f"{', '.join(tasks)}: {meaning}")
        for (option, meaning), tasks in takers.items()
    ]


def _fields(group: str, choice: str) -> Iterator[tuple[str, str]]:
    """The options of one file of a group, as `option=default`, and what they mean."""
    for line in (CONFIGS / group / f"{choice}.yaml").read_text().splitlines():
        option, _, meaning = line.partition("  # ")
        if not option.startswith(("#", "name:", "_target_:")):
            yield option.replace(": ", "=", 1), meaning


def _option(option: str, meaning: str) -> str:
    return f"  {option:<35} {meaning}".rstrip()


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises RunError for anything else."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OSError) as error:
        raise RunError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is not a mapping of options")
    return {str(key): value for key, value in content.items()}


def folder(value: str) -> Path:
    """The value of an option that takes a path, `~` expanded."""
    return Path(value).expanduser()


def _split(name: str, arguments: Sequence[str]) -> _Arguments:
    groups, defaults = _groups(name), load_yaml(CONFIGS / f"{name}.yaml")
    tasks = [argument.removeprefix("task=") for argument in arguments if argument.startswith("task=")]
    own_task = "task" in groups and any(task not in choices("task") for task in tasks)
    # sim-eval-sweep has a list called strengths, sim-eval-train a group called critic: these are Hydra's.
    foreign = {head for head in _PASSED_ON if not isinstance(defaults.get(head, {}), dict)}
    foreign |= {"sampler"} & groups.keys()
    foreign |= {"task"} if own_task else set()
    found = _Arguments()
    for argument in arguments:
        option, equals, value = argument.partition("=")
        head, dot, rest = option.partition(".")
        if not equals or not option:
            raise RunError(f"{argument} is not understood; options are written name=value (see --help)")
        if option == "sampler" and "sampler" in groups:  # all of its files are loaded already
            found.literal["samplers"] = [_bare(value)]
        elif option == "samplers" and option in defaults:
            found.literal[option] = _names(value)
        elif option in _LITERAL and not isinstance(defaults.get(option, {}), dict | list):
            found.literal[option] = _literal(option, value, defaults[option])
        elif option == "task" and own_task:
            found.literal["task"] = _bare(value)
        elif dot and head in foreign and rest.partition(".")[0] not in choices(head):
            found.passed_on.append(argument)
        elif "${" in value:
            raise RunError(f"{argument}: nothing is interpolated; accepted: a plain value")
        elif option in groups:
            found.picked.append(argument)
        else:
            found.options.append((option, argument))
    return found


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
        raise RunError(f"{option} is empty; accepted: {'a name' if option in _PASSED_ON else 'a path'}")
    return _bare(value)


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _typed(arguments: list[str]) -> dict[str, Any]:
    """Options of components, typed as YAML types them, and nested where they hold dots."""
    try:
        typed = OmegaConf.to_container(OmegaConf.from_dotlist(arguments))
    except (YAMLError, OmegaConfBaseException) as error:
        raise RunError(f"{' '.join(arguments)} cannot be read: {str(error).splitlines()[0]}") from None
    assert isinstance(typed, dict)
    return {str(key): value for key, value in typed.items()}


@functools.cache  # Hydra takes 0.1 s; without options a command composes the same twice
def _composed(name: str, *overrides: str) -> DictConfig:
    """Not to be changed: the next caller gets the same object."""
    try:
        return hydra_compose(name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        last = overrides[-1] if overrides else name
        first_line = str(error).strip().split("\n", 1)[0]
        raise RunError(f"the options cannot be read, up to {last}: {first_line}") from None


def _check_option(name: str, default: DictConfig, option: str, argument: str) -> None:
    leaves = _leaves(default)
    if option in leaves:
        return
    inside = [leaf for leaf in leaves if leaf.startswith(f"{option}.")]
    if inside:
        raise RunError(f"{argument}: {option} is a group of options; accepted: {', '.join(inside)}")
    takers = [
        task
        for task in choices("task")
        if option in [f"task.{field.partition('=')[0]}" for field, _ in _fields("task", task)]
    ]
    if "task" in default and takers:
        raise RunError(
            f"{argument}: {option} is an option of task={' and task='.join(takers)}; task is {default.task.name}"
        )
    accepted = [*_groups(name), *sorted(leaves, key=lambda leaf: "." in leaf)]
    raise RunError(f"unknown option {option}; accepted: {', '.join(accepted)}{did_you_mean(option, accepted)}")


def _leaves(config: DictConfig, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in map(str, config):
        value = config._get_node(key)
        if isinstance(value, DictConfig):
            found.extend(_leaves(value, f"{prefix}{key}."))
        elif key not in ("_target_", "name"):
            found.append(f"{prefix}{key}")
    return found


def _check_type(option: str, default: object, value: object) -> None:
    if default is None or (value is None and not isinstance(default, int | float | str)):
        return
    plain, given = _plain(default), _plain(value)
    kinds: dict[type, tuple[tuple[type, ...], str]] = {
        bool: ((bool,), "true or false"),
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        str: ((str, int, float), "a name"),
        list: ((list,), "a list such as [a,b]"),
    }
    types, accepted = kinds[type(plain)]
    if not isinstance(given, types) or (isinstance(given, bool) and bool not in types):
        raise RunError(f"{option} is {shown(value)}; accepted: {accepted}")


def _plain(value: object) -> object:
    return OmegaConf.to_container(value) if isinstance(value, ListConfig) else value


def _groups(name: str) -> dict[str, str]:
    """Configuration groups of a file's defaults list, with their default choice."""
    defaults, _ = _sections(name)
    return {group: str(choice) for entry in defaults if isinstance(entry, dict) for group, choice in entry.items()}


def _sections(name: str) -> tuple[list[Any], list[str]]:
    """A file's defaults list, and the lines of its own options."""
    path = CONFIGS / f"{name}.yaml"
    text, content = path.read_text(), load_yaml(path)
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#", "defaults:"))]
    return content.get("defaults", []), lines
