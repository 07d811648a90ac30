"""The samplers of a run from their options: shipped ones and the user's own.

A shipped sampler is a file of sim_eval/samplers/ and its options are the fields of the dataclass there. They are read
from the source, because importing it takes more than a second, and `--help` and errors should not.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_eval.config.components import TARGETS, Component, component, with_options
from sim_eval.config.options import Choice, Given, Text, option
from sim_eval.config.values import did_you_mean, shown, typed
from sim_eval.foundation.errors import RunError

if TYPE_CHECKING:
    from sim_eval.samplers.sampler import Sampler

#: By sampler label: `_target_`, and the fields that its constructor takes.
SamplerConfigs = Mapping[str, Mapping[str, Any]]

#: The shipped samplers, in the order of `--help`: the files of sim_eval/samplers/.
SHIPPED = (
    *("unsteered", "best_of_n", "vgps", "value_guided", "qgf", "dsrl", "edit"),
    *("qpilots_u", "qpilots_m"),
)

#: The meaning of each field, the same in every sampler.
MEANINGS = {
    "n": "chunks drawn, of which the critic picks the one that is executed",
    "steps": "denoising steps",
    "strength": "steering strength; null: the tuned one, by default the same for all tasks",
    "scale": "exact: tilt the policy by exp(strength Q); matched: steer strength times as far as the policy moves",
    "jacobian": "backpropagate through the denoiser; false: use the critic's gradient at the posterior mean",
    "clip": "ask for Q at actions within -1 and 1; gradients pass straight through",
    "keep_best": "execute the steered chunk only where its Q is above that of the unsteered one from the same noise",
    "draws": "posterior draws per step",
}


@dataclass(frozen=True)
class SamplerForm:
    """A shipped sampler as its source declares it. fields: name to annotation and default, None for none."""

    name: str
    target: str
    summary: str
    needs: tuple[str, ...]
    fields: Mapping[str, tuple[str, Any]]

    def config(self) -> dict[str, Any]:
        """`_target_` and the fields' defaults."""
        return {"_target_": self.target, **{name: default for name, (_, default) in self.fields.items()}}


@functools.cache
def form_of(name: str) -> SamplerForm:
    """The form of a shipped sampler."""
    tree = ast.parse((Path(__file__).parent.parent / "samplers" / f"{name}.py").read_text(encoding="utf-8"))
    (kind,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    declared = {
        node.target.id: node
        for node in kind.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    needs = declared.pop("needs").value
    assert isinstance(needs, ast.Call)
    fields = {
        field: (ast.unparse(node.annotation), None if node.value is None else ast.literal_eval(node.value))
        for field, node in declared.items()
    }
    named = tuple(sorted(ast.literal_eval(needs.args[0]))) if needs.args else ()
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return SamplerForm(name, f"sim_eval.samplers.{kind.name}", summary, named, fields)


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """The samplers. `sampler`: the configuration of each that runs, by label, in order."""

    samplers: tuple[str, ...] = option(
        ("unsteered", "best_of_n", "value_guided", "qpilots_u", "qpilots_m"),
        f"run in this order; also entry points, {TARGETS}",
        entries=1,
    )
    sampler: SamplerConfigs = option(
        Choice(), "sampler.NAME.OPTION=VALUE: an option of a sampler; sampler=NAME: that one alone", kind="Choice"
    )

    @staticmethod
    def resolve(given: Given) -> None:
        choice = given["sampler"]
        if isinstance(choice.value, Mapping):  # built by a caller from Python
            given["sampler"] = {name: described(sampler) for name, sampler in choice.value.items()}
            return
        if choice.value is not None:
            given["samplers"] = (choice.value,)
        given["sampler"] = _picked(given["samplers"], choice.options)
        given["samplers"] = tuple(given["sampler"])


def _picked(names: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The configuration of each sampler by label.

    Raises RunError for an unknown sampler, one that is selected twice, and an option of one that is not selected.
    """
    picked: dict[str, Mapping[str, Any]] = {}
    for name in names:
        sampler = component("samplers", Choice(name), SHIPPED, TARGETS)
        if sampler.label in picked or (sampler.target and sampler.label in SHIPPED):
            raise RunError(f"samplers is {shown(names)}: each may be picked once, {sampler.label} names two")
        passed = _options_of(options, sampler.label)
        picked[sampler.label] = _configured(sampler, passed)
    for name in options:
        if not any(label == name or label.startswith(f"{name}.") for label in picked):
            inner = next(iter(options[name])) if isinstance(options[name], Mapping) else ""
            given = f"sampler.{name}.{inner}" if inner else f"sampler.{name}"
            raise RunError(f"{given} is of no sampler that runs; samplers is [{', '.join(picked)}]")
    return picked


def _options_of(options: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """The options of the sampler `label`; a label may contain dots."""
    inner: Any = options
    for part in label.split("."):
        inner = inner.get(part, {}) if isinstance(inner, Mapping) else {}
    if not isinstance(inner, Mapping):
        accepted = ", ".join(f"sampler.{label}.{field}" for field in form_of(label).fields) if label in SHIPPED else ""
        raise RunError(f"sampler.{label}={inner}: sampler.{label} is a group of options; accepted: {accepted}")
    return inner


def _configured(sampler: Component, passed: Mapping[str, Any]) -> dict[str, Any]:
    if sampler.target is not None:
        return {"_target_": sampler.target, **with_options(sampler, passed).options}
    form = form_of(sampler.label)
    config = form.config()
    for field, value in passed.items():
        name = f"sampler.{form.name}.{field}"
        if field not in form.fields:
            accepted = [f"sampler.{form.name}.{known}" for known in form.fields]
            raise RunError(f"unknown option {name}; accepted: {', '.join(accepted)}{did_you_mean(name, accepted)}")
        config[field] = _of_kind(name, value, form.fields[field][0])
    return config


#: By annotation: which values a field takes, and what is accepted.
_FIELDS = {
    "int": (int, "a whole number"),
    "float": (int | float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "a name"),
}


def _of_kind(name: str, value: Any, annotation: str) -> Any:
    """The value of a shipped sampler's field. Its range is for the sampler to check."""
    value = typed(value, annotation) if isinstance(value, Text) else value
    kind, accepted = _FIELDS[annotation]
    if value is None and annotation == "float":  # the tuned strength
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RunError(f"{name} is {shown(value)}; accepted: {accepted}")
    return value


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


def described(sampler: Sampler) -> dict[str, Any]:
    """The configuration of a built sampler: its class, and its fields if it is a dataclass."""
    kind: Any = type(sampler)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    fields = {name: getattr(sampler, name) for name in names}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **fields}
