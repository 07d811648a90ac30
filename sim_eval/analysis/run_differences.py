"""Differences between runs: those that forbid a comparison, and those that a reader must know about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sim_eval.analysis.grouping import POLICY_ROLES
from sim_eval.runs.provenance import SIMULATION, stored_request
from sim_eval.runs.reader import Run
from sim_eval.runs.sampler_options import LATER

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
