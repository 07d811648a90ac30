"""Samplers as rows: what they do, what they need, and their fields."""

from __future__ import annotations

from typing import NamedTuple

from sim_eval.config.components import entry_points
from sim_eval.config.samplers import SHIPPED, SamplerForm, form_of
from sim_eval.config.values import shown


class SamplerRow(NamedTuple):
    """A sampler: what it does, the models that it needs, its fields with their defaults, each a line of `about`."""

    sampler: str
    about: str


NOTES = (
    "a field is an option: sampler.best_of_n.n=16; strength=tuned: the strength that is tuned for the policy",
    "noise_actor and edit_actor are learned with the critic: critic=FOLDER of a sim-eval learn with the sampler",
    "a sampler of your own: samplers=package.module:NAME or samplers=./file.py:NAME",
)

_NEEDS = ("denoiser", "critic", "posterior", "noise_actor", "edit_actor")


def sampler_rows() -> list[SamplerRow]:
    """A row for each shipped sampler, then for each entry point."""
    rows = [SamplerRow(name, _about(form_of(name))) for name in SHIPPED]
    for name, target in sorted(entry_points("samplers").items()):
        rows.append(SamplerRow(name, f"{target}, of another package; its class says what it needs"))
    return rows


def _about(form: SamplerForm) -> str:
    needs = ", ".join(sorted(form.needs, key=_NEEDS.index)) or "the policy alone"
    fields = (
        f"{name}={'tuned' if name == 'strength' else shown(default)}" for name, (_, default) in form.fields.items()
    )
    return f"{form.summary}\nneeds: {needs}\n{', '.join(fields)}"
