"""Differences between runs: those that forbid a comparison, and those that a reader must know about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sim_eval.analysis.grouping import POLICY_ROLES
from sim_eval.runs.provenance import SIMULATION
from sim_eval.runs.reader import Run

_BLOCKS = {
    "tune": "the block on which strengths are chosen, so the strengths were tuned on the keys reported here",
    "train": "the block that demonstrations and the critic's rollouts start from",
}

#: What was seen where: names of runs by value by what it is.
_Seen = dict[str, dict[str, list[str]]]


def different_simulators(first: Run, second: Run) -> str | None:
    """Which simulator's version differs, so that the two runs' episodes may not be paired; None where none does."""
    for package in SIMULATION:
        here, there = _versions(first, package), _versions(second, package)
        if here and there and here != there:
            return f"{package} {', '.join(here)} in {first.name}, {', '.join(there)} in {second.name}"
    return None


def run_warnings(runs: Sequence[Run]) -> list[str]:
    """One line for each thing that weakens what the runs show."""
    blocks = [
        f"{run.name}: its episodes are of block {block}, {_BLOCKS[block]}; reported figures come from block eval"
        for run in runs
        if (block := run.config["block"]) in _BLOCKS
    ]
    return blocks + _unequal_options(runs) + _unequal_provenance(runs)


def _versions(run: Run, package: str) -> list[str]:
    found = (account["versions"].get(package) for account in run.provenance)
    return list(dict.fromkeys(version for version in found if version is not None))


def _unequal_options(runs: Sequence[Run]) -> list[str]:
    """Options of task and samplers, and critics, that differ between runs of the same task and policy."""
    seen: _Seen = defaultdict(lambda: defaultdict(list))
    for run in runs:
        who = " ".join(run.setting)
        if run.config["critic"] is not None:
            seen[f"{who}: critic"][run.config["critic"]].append(run.name)
        for sampler, options in run.config["sampler"].items():
            for option in options.keys() - {"_target_", "strength"}:  # a strength stands beside its figures
                what = f"{who}: steps" if option == "steps" else f"{who}: sampler.{sampler}.{option}"
                seen[what][str(options[option])].append(f"{run.name}'s {sampler}")
        for option in run.config["task"].keys() - {"assets"}:  # only runs of earlier versions have it
            seen[f"{who}: task.{option}"][str(run.config["task"][option])].append(run.name)
    return _differing(seen)


def _unequal_provenance(runs: Iterable[Run]) -> list[str]:
    """Versions and sources that differ between runs or, in one run, between its start and a resumption."""
    seen: _Seen = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for account in run.provenance:
            stamps = {f"version of {package}": version for package, version in account["versions"].items()}
            for role, digest in account["checkpoints"].items():
                if role not in POLICY_ROLES:  # policies that differ get tables of their own
                    stamps[f"{' '.join(run.setting)}: checkpoint {role}"] = digest[:12]
            git = account["git"]
            stamps["git revision"] = f"{git['commit'][:12]}{'+' if git['dirty'] else ''}" if git else "none"
            stamps["processor"] = account["machine"]["processor"]
            for what, value in stamps.items():
                if run.name not in seen[what][value]:
                    seen[what][value].append(run.name)
    return _differing(seen)


def _differing(seen: _Seen) -> list[str]:
    return [
        f"{what} differs: " + "; ".join(f"{value} in {_listed(names)}" for value, names in values.items())
        for what, values in seen.items()
        if len(values) > 1
    ]


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
