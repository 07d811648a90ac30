"""Samplers as rows: what they do, what they need, and their fields."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any, NamedTuple

from sim_eval import samplers
from sim_eval.config.components import entry_points
from sim_eval.config.values import shown


class SamplerRow(NamedTuple):
    """A sampler: what it does, the models that it needs, its fields with their defaults, each a line of `about`."""

    sampler: str
    about: str


NOTES = (
    "a field is an option: sampler.best_of_n.n=16; strength=tuned: the strength that is tuned for the policy",
    "noise_actor and edit_actor are learned with the critic: critic=FOLDER of a sim-eval-learn with the sampler",
    "a sampler of your own: samplers=[package.module:NAME] or samplers=[./file.py:NAME]",
)


def sampler_rows() -> list[SamplerRow]:
    """A row for each shipped sampler, sorted, then for each entry point."""
    rows = []
    for name, kind in sorted(shipped().items()):
        what = (inspect.getdoc(sys.modules[kind.__module__]) or "").partition("\n")[0]
        needs = ", ".join(_ordered(kind.needs)) or "the policy alone"
        rows.append(SamplerRow(name, f"{what}\nneeds: {needs}\n{_fields(kind)}"))
    for name, target in sorted(entry_points("samplers").items()):
        rows.append(SamplerRow(name, f"{target}, of another package; its class says what it needs"))
    return rows


def shipped() -> dict[str, Any]:
    """The shipped samplers' classes by name, which is that of their file."""
    public = [getattr(samplers, name) for name in samplers.__all__]
    return {kind.__module__.rpartition(".")[2]: kind for kind in public if hasattr(kind, "needs")}


def _ordered(needs: frozenset[str]) -> list[str]:
    order = ("denoiser", "critic", "posterior", "noise_actor", "edit_actor")
    return sorted(needs, key=order.index)


def _fields(kind: Any) -> str:
    """The fields with their defaults; the only field without one is the strength, which is tuned."""
    told = [
        (f.name, "tuned" if f.default is dataclasses.MISSING else shown(f.default)) for f in dataclasses.fields(kind)
    ]
    return ", ".join(f"{name}={value}" for name, value in told)
