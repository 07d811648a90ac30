"""Components from outside the suite: `policy=NAME`, `policy=package.module:attribute`, `policy=./file.py:attribute`.

A NAME is a shipped component or an entry point of another package, in the groups `ENTRY_POINTS`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from sim_eval.config.options import Choice, Text
from sim_eval.config.values import one_of, typed
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import expanded
from sim_eval.foundation.own_packages import OWN_PACKAGES

#: What a component may be besides a name, for messages and help.
TARGETS = "package.module:NAME, ./file.py:NAME"

#: Entry-point group of each option.
ENTRY_POINTS = {
    "policy": "sim_eval.policies",
    "critic": "sim_eval.critics",
    "posterior": "sim_eval.posteriors",
    "samplers": "sim_eval.samplers",
    "task": "sim_eval.tasks",
}

#: Components of this project that need code and options to build, by option: name to target.
BUILT_IN = {
    "policy": {"lerobot": "policies.lerobot:build", "openpi": "policies.openpi:build"},
    "posterior": {"flow": "policies.posterior_flow:build"},
}


@dataclass(frozen=True)
class Component:
    """A policy, critic, posterior, sampler or task as named by an option: plain values, picklable.

    label: its name in records and file names.
    target: "package.module:attribute" of an installed package, "/folder/package.module:attribute",
        "/folder/file.py:attribute", or None for a shipped checkpoint.
    options: keyword arguments for the target.
    option: the option that named the component, for messages.
    """

    label: str
    target: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    option: str = "component"

    def build(self, **offered: Any) -> Any:
        """Call the target with `options` and with those of `offered` that its signature names.

        Raises RunError for a target that cannot be found or called, an option that it does not take, a required option
        that is missing, and a value that a built-in component refuses by a ValueError.
        """
        target, parameters = self.check(*offered)
        arguments = {**{name: value for name, value in offered.items() if name in parameters}, **self.options}
        if self.target not in BUILT_IN.get(self.option, {}).values():
            return target(**arguments)
        try:
            return target(**arguments)
        except ValueError as error:
            raise RunError(f"{self.option}={self.label}: {error}") from error

    def check(self, *offered: str) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
        """What `build` would call, and its parameters, without calling it. Raises RunError as `build`."""
        target = self.load()
        parameters = inspect.signature(target).parameters
        self._check_options(parameters, offered)
        return target, parameters

    def takes(self, parameter: str) -> bool:
        """Whether the target's signature names the parameter. Raises RunError as `load`."""
        return parameter in inspect.signature(self.load()).parameters

    def load(self) -> Callable[..., Any]:
        """Import what `target` names. Raises RunError if it cannot be found or is not callable."""
        if self.target is None:
            raise RunError(f"{self.option}={self.label} is a checkpoint, which names no code to build it")
        place, _, attribute = self.target.rpartition(":")
        try:
            module = load_file(Path(place)) if place.endswith(".py") else _module(place)
        except ImportError as error:
            raise RunError(f"{self.option}={self.target}: {_why(error, place)}") from error
        found = getattr(module, attribute, None)
        if found is None:
            there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise RunError(f"{self.option}={self.target}: no {attribute} in {place}; there: {', '.join(there)}")
        if not callable(found):
            raise RunError(f"{self.option}={self.target}: {attribute} is not callable; accepted: a class or a function")
        return found

    def source(self) -> bytes:
        """The content of the file that defines the target, without running a `.py` target; empty if there is none."""
        place = str(self.target).rpartition(":")[0]
        if place.endswith(".py"):
            return Path(place).read_bytes()
        target = self.load()
        if inspect.isfunction(target) or inspect.isclass(target):
            module = sys.modules.get(target.__module__)
        else:  # such as a functools.partial, which does not know where it was defined
            module = _module(place)
        path = getattr(module, "__file__", None)
        return Path(path).read_bytes() if path else b""

    def _check_options(self, parameters: Mapping[str, inspect.Parameter], offered: tuple[str, ...]) -> None:
        by_name = [
            name
            for name, parameter in parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        unknown = [name for name in self.options if name not in by_name and not takes_any]
        if unknown:
            accepted = ", ".join(by_name) or "none"
            raise RunError(f"{self.option}={self.target} takes no option {unknown[0]}; accepted: {accepted}")
        lacking = [
            name
            for name in by_name
            if parameters[name].default is inspect.Parameter.empty and name not in (*offered, *self.options)
        ]
        if lacking:
            prefix = f"sampler.{self.label}" if self.option == "samplers" else self.option
            raise RunError(f"{self.option}={self.target} needs {lacking[0]}; give {prefix}.{lacking[0]}=VALUE")


@dataclass(frozen=True)
class Built(Component):
    """A component that the caller has built: `instance`."""

    instance: Any = None

    def build(self, **offered: Any) -> Any:
        return self.instance

    def takes(self, parameter: str) -> bool:
        return False

    def source(self) -> bytes:
        return b""  # a class in a notebook has no file


def component(option: str, choice: Choice, shipped: Iterable[str], also: str = TARGETS) -> Component:
    """The component that `option` names.

    `shipped`: names that need no other package. `also`: what else is accepted, for messages. Paths of files and of
    modules in the current folder become absolute, because worker processes and later commands may run elsewhere.
    Raises RunError for an unknown name, a file that does not exist, and options for a shipped component, which takes
    none.
    """
    shipped, value, options = list(shipped), choice.value, choice.options
    if not isinstance(value, str):
        kind = type(value)
        return Built(kind.__name__, f"{kind.__module__}:{kind.__qualname__}", _plain_attributes(value), option, value)
    if value in shipped:
        if options:
            raise RunError(f"{option}.{next(iter(options))}: {option}={value} takes no options")
        return Component(value, None, {}, option)
    label, target = _named(option, value, shipped, also)
    return with_options(Component(label, target, {}, option), options)


def _named(option: str, value: str, shipped: Sequence[str], also: str) -> tuple[str, str]:
    """Label and target of a component that is not shipped."""
    place, colon, attribute = value.rpartition(":")
    if not colon:
        if value.endswith(".py"):
            raise RunError(
                f"{option} is {value}; accepted: {value}:NAME, NAME being a class or a function of that file"
            )
        entries = entry_points(option)
        name = one_of(option, value, [*shipped, *entries], also)
        return name, entries[name]
    if not place or not attribute.isidentifier():
        raise RunError(f"{option} is {value}; accepted: package.module:NAME or ./file.py:NAME")
    if "/" in place or place.endswith(".py"):
        path = expanded(place).resolve()
        if path.suffix != ".py" or not path.is_file():
            raise RunError(f"{option} is {value}: {path} is no Python file")
        return _label(path.stem, attribute), f"{path}:{attribute}"
    target = f"{Path.cwd()}/{value}" if _is_of_current_folder(place) else value
    return _label(place.rpartition(".")[2], attribute), target


def with_options(found: Component, options: Mapping[str, Any]) -> Component:
    """The component with options, texts typed as its target's annotations say."""
    if not options:
        return found
    parameters = inspect.signature(found.load()).parameters
    annotations = {name: parameter.annotation for name, parameter in parameters.items()}
    return replace(found, options={name: typed_as(value, annotations.get(name)) for name, value in options.items()})


def typed_as(value: Any, annotation: object) -> Any:
    """An option's value, its texts typed as the annotation says, those inside it as they look."""
    if isinstance(value, Mapping):
        return {name: typed_as(inner, None) for name, inner in value.items()}
    return typed(value, annotation) if isinstance(value, Text) else value


def _plain_attributes(instance: object) -> dict[str, Any]:
    """An object's public numbers and strings, which the run folder stores as its options."""
    return {
        name: value
        for name, value in getattr(instance, "__dict__", {}).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_") and name != "training"
    }


def entry_points(option: str) -> dict[str, str]:
    """Name to "package.module:attribute": the built-in components, and what installed packages offer for `option`."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS[option])
    return {**{entry.name: f"{entry.module}:{entry.attr}" for entry in found}, **BUILT_IN.get(option, {})}


def _label(module: str, attribute: str) -> str:
    """`mine` for mine.py:build and mine.py:Mine, `mine.small` for mine.py:small."""
    same = attribute.lower() in ("build", module.replace("_", "").lower())
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", module if same else f"{module}.{attribute}")


@functools.cache
def load_file(path: Path) -> ModuleType:
    """Import the file under a unique module name, so that files of the same name do not clash."""
    if not path.is_file():
        raise RunError(f"{path} is no Python file; it was there when the run was started or configured")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    _importable(str(path.parent))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    LOADED[name] = path
    return module


#: The files that `load_file` has imported, by module name; no other interpreter can import these names.
LOADED: dict[str, Path] = {}


def _is_of_current_folder(module: str) -> bool:
    """Whether the module is found only in the current folder."""
    package = module.partition(".")[0]
    elsewhere = [folder for folder in sys.path if Path(folder).resolve() != Path.cwd()]
    return PathFinder.find_spec(package, [os.getcwd()]) is not None and PathFinder.find_spec(package, elsewhere) is None


def _module(place: str) -> ModuleType:
    """Import a module of an installed package, or of the folder in front of its name."""
    folder, _, name = place.rpartition("/")
    if folder:
        _importable(folder)
    return importlib.import_module(name)


def own_modules() -> list[ModuleType]:
    """The imported modules of the user's own files, which other machines may lack."""
    mine = []
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "/")
        installed = name.partition(".")[0] in ("sim_eval", *OWN_PACKAGES) or "site-packages" in file.parts
        if not installed and any(Path(folder) in file.parents for folder in _FOLDERS):
            mine.append(module)
    return mine


#: The folders of the files and modules that components were imported from.
_FOLDERS: set[str] = set()


def _importable(folder: str) -> None:
    """Search `folder` last, so that nothing in it hides an installed package."""
    _FOLDERS.add(folder)
    if folder not in sys.path:
        sys.path.append(folder)


def _why(error: ImportError, place: str) -> str:
    """Why an import failed; a user's folder called `tasks`, for example, is hidden by the suite's package."""
    package = str(error.name).partition(".")[0]
    if package in OWN_PACKAGES:
        return (
            f"{error}; sim-eval has a package called {package} of its own, which hides any other: "
            f"rename yours, or name a single file, ./file.py:NAME"
        )
    module = place.rpartition("/")[2]
    if place.endswith(".py") or error.name is None or not f"{module}.".startswith(f"{error.name}."):
        return f"importing it failed: {error}"
    return f"there is no module {error.name} in the current folder or among the installed packages"
