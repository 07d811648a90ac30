"""What keeps runs from being compared, and what a reader must know about them before any figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sim_eval.runs.provenance import SIMULATION
from sim_eval.runs.reader import Run

_BLOCKS = {
    "tune": "the block on which strengths are chosen, so the strengths were tuned on the keys reported here",
    "train": "the block that demonstrations and the critic's rollouts start from",
}


def obstacle(first: Run, second: Run) -> str | None:
    """Why no episode of one run may be paired with one of the other; None where nothing is in the way."""
    for package in SIMULATION:
        here, there = _versions(first, package), _versions(second, package)
        if here and there and here != there:
            return f"{package} {', '.join(here)} in {first.name}, {', '.join(there)} in {second.name}"
    return None


def warnings(runs: Sequence[Run]) -> list[str]:
    """One line for each thing that weakens what the runs show."""
    told = []
    for run in runs:
        told += _about_keys(run)
    return told + _unequal_options(runs) + _unequal_provenance(runs)


def _versions(run: Run, package: str) -> list[str]:
    return list(dict.fromkeys(one["versions"][package] for one in run.provenance if package in one["versions"]))


def _about_keys(run: Run) -> list[str]:
    block = run.config["block"]
    if block not in _BLOCKS:
        return []
    return [f"{run.name}: its episodes are of block {block}, {_BLOCKS[block]}; reported figures come from block eval"]


def _unequal_options(runs: Sequence[Run]) -> list[str]:
    """Options of task and samplers, and critics, that differ between runs of the same task and policy."""
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        who = " ".join(run.setting)
        if run.config["critic"] is not None:
            seen[f"{who}: critic"][run.config["critic"]].append(run.name)
        for sampler, options in run.config["sampler"].items():
            for option in options.keys() - {"_target_", "strength"}:  # a strength stands beside its figures
                what = f"{who}: steps" if option == "steps" else f"{who}: sampler.{sampler}.{option}"
                seen[what][str(options[option])].append(f"{run.name}'s {sampler}")
        for option in run.config["task"].keys() - {"assets"}:  # stored by older versions
            value = run.config["task"][option]
            seen[f"{who}: task.{option}"][str(value)].append(run.name)
    return _differing(seen)


def _unequal_provenance(runs: Iterable[Run]) -> list[str]:
    """Versions and sources that differ between runs or, in one run, between its start and a resumption."""
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for account in run.provenance:
            stamps = {f"version of {package}": version for package, version in account["versions"].items()}
            for name, digest in account["checkpoints"].items():
                stamps[f"{' '.join(run.setting)}: checkpoint {name}"] = digest[:12]
            git = account["git"]
            stamps["git revision"] = f"{git['commit'][:12]}{'+' if git['dirty'] else ''}" if git else "none"
            stamps["processor"] = account["machine"]["processor"]
            for what, value in stamps.items():
                if run.name not in seen[what][value]:
                    seen[what][value].append(run.name)
    return _differing(seen)


def _differing(seen: dict[str, dict[str, list[str]]]) -> list[str]:
    return [
        f"{what} differs: " + "; ".join(f"{value} in {', '.join(names)}" for value, names in values.items())
        for what, values in seen.items()
        if len(values) > 1
    ]
