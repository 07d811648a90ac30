"""The samplers of a run from their options: shipped ones and the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sim_eval.config.components import Component, component
from sim_eval.config.compose import TARGETS
from sim_eval.config.values import listed
from sim_eval.errors import RunError
from sim_eval.samplers.sampler import Sampler

#: By sampler label: `_target_`, and the fields that its constructor takes.
SamplerConfigs = Mapping[str, Mapping[str, Any]]


def read_samplers(config: Mapping[str, Any]) -> SamplerConfigs:
    """The selected samplers' configurations, in order; the option `samplers` is a list, or a mapping of built samplers.

    Raises RunError for an unknown sampler, one that is selected twice, and an option of one that is not selected.
    """
    if isinstance(config["samplers"], Mapping) and config["samplers"]:
        return {name: _described(sampler) for name, sampler in config["samplers"].items()}
    shipped: SamplerConfigs = config["sampler"]
    picked: dict[str, Mapping[str, Any]] = {}
    values = listed("samplers", config["samplers"])
    for value in values:
        sampler = component("samplers", value, {}, shipped, TARGETS)
        if sampler.label in picked or (sampler.target and sampler.label in shipped):
            raise RunError(f"samplers is [{', '.join(values)}]: each may be picked once, {sampler.label} names two")
        options = _passed_on(config["passed_on"].get("sampler", {}), sampler.label)
        picked[sampler.label] = {"_target_": sampler.target, **options} if sampler.target else shipped[sampler.label]
    for option in config["given"]:
        if option.startswith("sampler.") and not any(option.startswith(f"sampler.{label}.") for label in picked):
            raise RunError(f"{option} is of no sampler that runs; samplers is [{', '.join(picked)}]")
    return picked


def build_sampler(name: str, config: Mapping[str, Any]) -> Sampler:
    """The sampler of this configuration. Raises RunError naming the field whose value it refuses."""
    target = str(config["_target_"])
    fields = {field: value for field, value in config.items() if field != "_target_"}
    if ":" not in target:  # a shipped one: package.module.Class
        target = ":".join(target.rsplit(".", 1))
    try:
        sampler: Sampler = Component(name, target, fields, "samplers").build()
    except ValueError as error:  # a sampler checks its own ranges
        raise error if isinstance(error, RunError) else RunError(f"sampler.{name}: {error}") from None
    return sampler


def _passed_on(options: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The options of the sampler `label`; a label may contain dots."""
    inner: Any = options
    for part in label.split("."):
        inner = inner.get(part, {}) if isinstance(inner, dict) else {}
    return dict(inner)


def _described(sampler: Sampler) -> dict[str, Any]:
    """The configuration of a built sampler: its class, and its fields if it is a dataclass."""
    kind: Any = type(sampler)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    fields = {name: getattr(sampler, name) for name in names}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **fields}
