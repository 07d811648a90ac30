"""Which runs share a table, and which runs of a table differ only in their keys and share a row."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sim_eval.runs.provenance import stored_request
from sim_eval.runs.reader import Run
from sim_eval.runs.stored_options import LATER
from tasks.packages import SIMULATION

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


_BLOCKS = {
    "tune": "the block on which strengths are chosen, so the strengths were tuned on the keys reported here",
    "train": "the block that demonstrations and the critic's rollouts start from",
}


def different_simulators(first: Run, second: Run) -> str | None:
    """Which simulator version differs, which forbids pairing the two runs' episodes; None if none does."""
    for package in SIMULATION:
        here, there = _versions(first, package), _versions(second, package)
        if here and there and here != there:
            return f"{package} {', '.join(here)} in {first.name}, {', '.join(there)} in {second.name}"
    return None


def run_warnings(runs: Sequence[Run]) -> list[str]:
    """One line for each difference between the runs that weakens their results, then what they note of themselves."""
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    runs = [run for run in runs if run.foreign is None]  # another harness's files state nothing to compare
    blocks = [
        f"{run.name}: its episodes are of block {block}, {_BLOCKS[block]}; reported figures come from block eval"
        for run in runs
        if (block := run.config["block"]) in _BLOCKS
    ]
    names: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))  # by value, by what it is
    for run in runs:
        for what, value, name in _stated(run):
            names[what][value][name] = None
    return (
        blocks
        + [
            f"{what} differs: " + "; ".join(f"{value} in {_listed(list(values[value]))}" for value in values)
            for what, values in names.items()
            if len(values) > 1
        ]
        + notes
    )


def request_warnings(task: str, policy: str, runs: Sequence[Run]) -> list[str]:
    """One line for each field of the policy's request in which the runs of one table differ."""
    requests = [(run.name, stored_request(run.request)) for run in runs if run.request is not None]
    found = []
    for field in requests[0][1] if requests else ():
        by_value: dict[str, list[str]] = defaultdict(list)
        for name, request in requests:
            by_value[str(request[field])].append(name)
        if len(by_value) > 1:
            values = "; ".join(f"{value} in {_listed(names)}" for value, names in by_value.items())
            found.append(f"{task} {policy}: what the policy observes differs, {field} is {values}")
    return found


def _versions(run: Run, package: str) -> list[str]:
    found = (account["versions"].get(package) for account in run.provenance)
    return list(dict.fromkeys(version for version in found if version is not None))


def _stated(run: Run) -> Iterator[tuple[str, str, str]]:
    """(name, value, where) of all that may differ between runs, or within a run that was resumed."""
    who = " ".join(run.setting)
    if run.config["critic"] is not None:
        yield f"{who}: critic", run.config["critic"], run.name
    for sampler, options in run.config["sampler"].items():
        for option, value in {**LATER, **options}.items():
            if option not in ("_target_", "strength"):  # tables show the strength
                what = f"{who}: steps" if option == "steps" else f"{who}: sampler.{sampler}.{option}"
                yield what, str(value), f"{run.name}'s {sampler}"
    for option, value in run.config["task"].items():
        if option != "assets":  # only runs of earlier versions have it
            yield f"{who}: task.{option}", str(value), run.name
    for account in run.provenance:
        for package, version in account["versions"].items():
            yield f"version of {package}", version, run.name
        for role, digest in account["checkpoints"].items():
            if role not in POLICY_ROLES:  # policies that differ get tables of their own
                yield f"{who}: checkpoint {role}", digest[:12], run.name
        git = account["git"]
        yield "git revision", f"{git['commit'][:12]}{'+' if git['dirty'] else ''}" if git else "none", run.name
        yield "processor", account["machine"]["processor"], run.name


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
