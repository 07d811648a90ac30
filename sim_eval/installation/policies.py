"""Policies as rows: shipped checkpoints, adapters of other libraries, and those of other packages."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import NamedTuple

from sim_eval.config.components import BUILT_IN, Component, entry_points
from sim_eval.installation.cards import Card, policies_of
from sim_eval.installation.tasks import compressed
from tasks.packages import installed_version

#: Packages that an adapter needs besides sim-eval's own: the adapter, the package, which is also the extra's name.
_PACKAGES = {"lerobot": "lerobot"}
#: What `build` passes to a component itself.
_OFFERED = ("task", "device")


class PolicyRow(NamedTuple):
    """A policy: its kind (a family, mini_vla, an adapter or another package's), its tasks or what it needs."""

    policy: str
    kind: str
    about: str


NOTES = ("a policy of your own: policy=package.module:NAME or policy=./file.py:NAME",)


def policy_rows(cards: Iterable[Card]) -> list[PolicyRow]:
    """A row for each checkpoint's name, then for each adapter and entry point, each sorted.

    Imports the adapters. Raises RunError if one cannot be imported.
    """
    rows = [
        PolicyRow(name, own[0].family, compressed({task for card in own for task in card.tasks}))
        for name, own in policies_of(cards).items()
    ]
    for name, target in sorted(entry_points("policy").items()):
        if name in BUILT_IN["policy"]:
            rows.append(PolicyRow(name, "adapter", _about_adapter(name, target)))
        else:
            rows.append(PolicyRow(name, "other package", target))
    return rows


def _about_adapter(name: str, target: str) -> str:
    """What the adapter is, the options that it needs, and those that it takes."""
    build = Component(name, target, {}, "policy").load()
    parameters = {n: p for n, p in inspect.signature(build).parameters.items() if n not in _OFFERED}
    needed = [f"policy.{n}=" for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    taken = [n for n, p in parameters.items() if p.default is not inspect.Parameter.empty]
    what = (inspect.getdoc(sys.modules[target.partition(":")[0]]) or "").partition("\n")[0]
    lines = [what, f"needs: {', '.join([*needed, *_package(name)])}", f"takes: {', '.join(taken)}"]
    return "\n".join(lines)


def _package(name: str) -> list[str]:
    package = _PACKAGES.get(name)
    if package is None:
        return []
    version = installed_version(package)
    return [f"the extra [{package}] ({f'{version} is installed' if version else 'not installed'})"]
