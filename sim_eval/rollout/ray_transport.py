"""Packs tasks, samplers and models by value for other machines, so that only the suite must be there.

Weights travel with the models: a checkpoint that was trained a minute ago is on this machine alone. So does the user's
own code, in files that a worker could not find.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import cloudpickle

from sim_eval.config.components import Component, own_modules
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.machine import versions
from sim_eval.foundation.own_packages import OWN_PACKAGES
from sim_eval.rollout.environment import MakeTask


@dataclass(frozen=True)
class Packed:
    """A pickled thing; `what` it is, for messages."""

    what: str
    content: bytes

    def unpacked(self) -> Any:
        """Raises RunError if a module that the thing needs is missing here."""
        try:
            return cloudpickle.loads(self.content)
        except ImportError as error:
            raise RunError(
                f"a worker cannot import what {self.what} needs: {error}; accepted: the same packages on every machine"
            ) from None


def packed(what: str, thing: object) -> Packed:
    """The thing, ready to travel. Raises RunError if it cannot be pickled."""
    for module in own_modules():
        cloudpickle.register_pickle_by_value(module)
    try:
        return Packed(what, cloudpickle.dumps(thing))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise RunError(f"{what} cannot be sent to other machines: {error}; accepted: engine=local") from None


@dataclass(frozen=True)
class PackedTask:
    """A picklable callable that builds the task, in a worker or in its processes."""

    factory: Packed

    def __call__(self) -> Any:
        return self.factory.unpacked()()


def packed_task(make_task: MakeTask) -> PackedTask:
    """The task's factory, ready to travel. Raises RunError if it cannot be pickled."""
    component = getattr(make_task, "__self__", None)
    factory: Callable[[], Any] = make_task
    if isinstance(component, Component):  # which names a file of this machine
        factory = functools.partial(component.load(), **component.options)
    return PackedTask(packed("the task", factory))


def installed() -> dict[str, str]:
    """The versions that must be the same on every machine: of packages, and of the suite's own source."""
    home = Path(__file__).resolve().parent.parent.parent
    digest = hashlib.sha256()
    for package in ("sim_eval", *OWN_PACKAGES):
        for path in sorted((home / package).rglob("*.py")):
            digest.update(str(path.relative_to(home)).encode() + path.read_bytes())
    return {**versions(), "the suite's source": digest.hexdigest()[:12]}


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    """The first difference of two machines' `installed`, in words; None if there is none."""
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            return f"{name} is {there.get(name, 'missing')} there, {here.get(name, 'missing')} here"
    return None
