"""Which runs share a table, and which runs of a table differ only in their keys and share a row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim_eval.runs.provenance import SIMULATION
from sim_eval.runs.reader import Run

#: The fingerprints that identify a policy: its weights and its configuration.
POLICY_ROLES = ("policy", "policy config")


def group_by_policy(runs: Sequence[Run], warnings: list[str]) -> list[tuple[str, str, list[Run]]]:
    """For each table: task, the policy's name in the report, and runs.

    Policies with the same name but different fingerprints get separate tables and distinct names; a warning says so.
    """
    found = []
    for setting in dict.fromkeys(run.setting for run in runs):
        task, policy = setting
        groups = _alike([run for run in runs if run.setting == setting], _policy_identity)
        names = _names_apart(policy, groups) if len(groups) > 1 else [policy]
        named = list(zip(names, groups, strict=True))
        if len(groups) > 1:
            warnings.append(
                f"{task}: {len(groups)} different policies are called {policy}; they are not compared with each other: "
                + "; ".join(f"{name} in {', '.join(run.name for run in group)}" for name, group in named)
            )
        found += [(task, name, group) for name, group in named]
    return found


def group_by_setup(runs: Sequence[Run]) -> dict[str, tuple[str, list[Run]]]:
    """Sampler and runs by row label; runs that differ only in their keys share a row.

    What another harness ran has rows of its own, last, named after its file.
    """
    foreign = [run for run in runs if run.foreign is not None]
    runs = [run for run in runs if run.foreign is None]
    samplers = dict.fromkeys(sampler for run in runs for sampler in run.config["samplers"])
    rows: dict[str, tuple[str, list[Run]]] = {}
    for sampler in samplers:
        ran = [run for run in runs if sampler in run.config["samplers"]]
        groups = _alike(ran, functools.partial(_setup, sampler))
        strengths = [group[0].config["sampler"][sampler].get("strength") for group in groups]
        for group, strength in zip(groups, strengths, strict=True):
            label = sampler
            if len(groups) > 1:
                apart = None not in strengths and len(set(strengths)) == len(groups)
                label = f"{sampler} at {strength:g}" if apart else f"{group[0].name}/{sampler}"
            rows[label] = sampler, group
    for run in foreign:
        (sampler,) = run.config["samplers"]
        rows[f"{sampler} ({run.foreign})"] = sampler, [run]
    return rows


def _alike(runs: Sequence[Run], describe: Callable[[Run], Mapping[str, Any]]) -> list[list[Run]]:
    """Groups of runs whose descriptions agree; an entry that only some runs have does not separate them."""
    groups: list[tuple[list[Run], dict[str, Any]]] = []
    for run in runs:
        described = describe(run)
        for group, known in groups:
            if all(known.get(name, value) == value for name, value in described.items()):
                group.append(run)
                known.update(described)
                break
        else:
            groups.append(([run], dict(described)))
    return [group for group, _ in groups]


def _checkpoints(run: Run) -> dict[str, str]:
    return {role: digest for account in run.provenance for role, digest in account["checkpoints"].items()}


def _policy_identity(run: Run) -> dict[str, str]:
    return {role: digest for role, digest in _checkpoints(run).items() if role in POLICY_ROLES}


def _names_apart(policy: str, groups: Sequence[Sequence[Run]]) -> list[str]:
    hashes = [_checkpoints(group[0]).get("policy", "")[:8] for group in groups]
    if "" in hashes or len(set(hashes)) < len(hashes):
        hashes = [group[0].name for group in groups]
    return [f"{policy} ({text})" for text in hashes]


def _setup(sampler: str, run: Run) -> dict[str, Any]:
    """Everything that a record of this sampler depends on except the key."""
    task = {name: value for name, value in run.config["task"].items() if name not in ("name", "assets")}
    options = {name: value for name, value in run.config["sampler"][sampler].items() if name != "_target_"}
    versions = run.provenance[-1]["versions"] if run.provenance else {}
    execute = {record.execute for record in run.records if record.sampler == sampler}
    return {
        **{f"checkpoint {role}": digest for role, digest in _checkpoints(run).items()},
        **{f"version of {package}": versions[package] for package in SIMULATION if package in versions},
        **({"execute": execute} if execute else {}),
        **({} if run.request is None else {"request": run.request}),
        "block": run.config["block"],
        "device": run.config.get("device", "cpu"),
        "critic": run.config["critic"],
        "task": task,
        "options": options,
    }
