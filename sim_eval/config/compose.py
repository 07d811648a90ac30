"""Command-line options through Hydra's compose interface, checked before anything else runs.

Hydra's own application decorator changes folders, writes logs and prints tracebacks; composing here instead keeps the
configuration files and the `name=value` syntax, and gives every mistake one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from sim_eval.config.values import did_you_mean, one_of, shown
from sim_eval.errors import RunError

#: The repository's configs/ folder.
CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"

#: Options that take a folder: what is given is a path as it stands, whatever else Hydra would read in it.
FOLDERS = ("output", "checkpoints", "results", "data")


def choices(group: str) -> list[str]:
    """The names that a configuration group offers."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def compose(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """configs/<name>.yaml with the arguments `option=value` or `group=choice` applied, as plain values.

    Raises RunError for an argument without `=`, an unknown option or choice, and a value of another type than the
    default's; a default of null takes any value.
    """
    picked, options = _split(name, arguments)
    # Samplers form a group of which every file is loaded, so that a new one needs no entry elsewhere.
    every = [f"sampler=[{','.join(choices('sampler'))}]"] if "sampler" in _groups(name) else []
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        default = _composed(name, [*every, *picked])
        for option, argument in options:
            _check_option(default, option, argument)
        config = _composed(name, [*every, *picked, *(argument for _, argument in options)])
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise RunError(f"the options cannot be read: {str(error).splitlines()[0]}") from None
    for option, _ in options:
        _check_type(option, OmegaConf.select(default, option), OmegaConf.select(config, option))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def help_text(name: str, usage: str) -> str:
    """The usage line, the groups with their choices, and the options with defaults and meaning."""
    lines = [f"usage: {usage}", ""]
    for group, default in _groups(name).items():
        if group == "sampler":
            continue
        lines.append(_option(f"{group}={default}", f"one of {', '.join(choices(group))}"))
    _, options = _sections(name)
    for line in options:
        option, _, meaning = line.partition("  # ")
        lines.append(_option(option.replace(": ", "=", 1).replace(", ", ","), meaning))
    if "task" in _groups(name):
        lines += ["", *_task_options()]
    if "sampler" in _groups(name):
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
    """One of `FOLDERS` as a path, `~` expanded."""
    return Path(value).expanduser()


def _split(name: str, arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Arguments as group choices and as (option, argument)."""
    picked, options = [], []
    groups = _groups(name)
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if not equals or not option:
            raise RunError(f"{argument} is not understood; options are written name=value (see --help)")
        if option in FOLDERS:
            options.append((option, argument if value == "null" else f"{option}={_quoted(option, value)}"))
        elif option == "sampler" and option in groups:  # all of its files are loaded already
            options.append(("samplers", f"samplers=[{value}]"))
        elif option in groups:
            one_of(option, value, choices(option))
            picked.append(argument)
        else:
            options.append((option, argument))
    return picked, options


def _quoted(option: str, path: str) -> str:
    """A path as Hydra takes it unchanged: 2026_06_14 is no number, and a space or an equals sign means nothing."""
    bare = path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"" else path
    if not bare:
        raise RunError(f"{option} is empty; accepted: a folder")
    return "'" + bare.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _composed(name: str, overrides: list[str]) -> DictConfig:
    try:
        return hydra_compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        last = overrides[-1] if overrides else name
        first_line = str(error).strip().split("\n", 1)[0]
        raise RunError(f"the options cannot be read, up to {last}: {first_line}") from None


def _check_option(default: DictConfig, option: str, argument: str) -> None:
    accepted = _leaves(default)
    if option in accepted:
        return
    inside = [leaf for leaf in accepted if leaf.startswith(f"{option}.")]
    if inside:
        raise RunError(f"{argument}: {option} is a group of options; accepted: {', '.join(inside)}")
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
