"""Which runs share a table, and which runs of a table differ only in their keys and share a row."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim_eval.analysis.options import critic_options, drawn_by, given_options, said_value, sampler_options, task_options
from sim_eval.runs.provenance import stored_request
from sim_eval.runs.reader import Run
from sim_eval.runs.records import BASELINE
from sim_eval.runs.stored_options import LATER

#: The fingerprints that identify a policy: its weights and its configuration.
POLICY_ROLES = ("policy", "policy config")


@dataclass(frozen=True)
class Setup:
    """The runs of one row, which differ only in their keys.

    `policy`: its name in the report. `sampler`: under which name the runs record the episodes.
    """

    policy: str
    sampler: str
    runs: list[Run]

    @property
    def run(self) -> Run:
        """One of them, for what they have in common."""
        return self.runs[0]

    @property
    def drawn_by(self) -> str:
        """What draws the actions: the sampler, or the policy's server."""
        return drawn_by(self.run, self.sampler)

    @property
    def foreign(self) -> bool:
        """Whether another harness ran it."""
        return self.run.foreign is not None


def group_by_condition(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one task and one policy with the same weights, each with the same options: their samplers are compared.

    What another harness ran joins the first group of its task and policy.
    """
    runs = sorted(runs, key=lambda run: run.foreign is not None)
    settings = dict.fromkeys(run.setting for run in runs)
    by_setting = ([run for run in runs if run.setting == setting] for setting in settings)
    return [group for alike in by_setting for group in _alike(alike, _condition)]


def policy_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The policy's name of each group of `group_by_condition`.

    Different weights with the same name, task and options get their folder of checkpoints, or else the start of their
    hash. Groups that options and weights do not tell apart get the name of a run.
    """
    names = [str(group[0].config["policy"]) for group in groups]
    for places in _equal([(group[0].setting, given_options(group[0])) for group in groups]):
        weights = _alike([groups[place][0] for place in places], _weights)
        texts = _named_after_weights(names[places[0]], weights)
        for place in places:
            names[place] = next(text for text, runs in zip(texts, weights, strict=True) if groups[place][0] in runs)
    told = [(group[0].setting, names[place], task_options(group[0])) for place, group in enumerate(groups)]
    for places in _equal([(*known, given_options(group[0])) for known, group in zip(told, groups, strict=True)]):
        texts = told_apart([names[place] for place in places], [groups[place] for place in places])
        for place, text in zip(places, texts, strict=True):
            names[place] = text
    return names


def _named_after_weights(name: str, groups: Sequence[Sequence[Run]]) -> list[str]:
    folders = [group[0].config.get("checkpoints") for group in groups]
    if len(set(folders)) == len(groups):
        return [
            f"{name} checkpoints={said_value(folder)}" if folder and len(groups) > 1 else name for folder in folders
        ]
    return told_apart([name] * len(groups), groups)


def _equal(values: Sequence[object]) -> list[list[int]]:
    """The places of each value."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        found[repr(value)].append(place)
    return list(found.values())


def group_by_setup(runs: Sequence[Run], policy: str) -> list[Setup]:
    """The rows of runs of one condition; those of another harness have rows of their own, last."""
    own = [run for run in runs if run.foreign is None]
    found = []
    for sampler in dict.fromkeys(sampler for run in own for sampler in run.config["samplers"]):
        ran = [run for run in own if sampler in run.config["samplers"]]
        found += [Setup(policy, sampler, group) for group in _alike(ran, functools.partial(_setup, sampler))]
    others = [run for run in runs if run.foreign is not None]
    return found + [Setup(policy, run.config["samplers"][0], [run]) for run in others]


def told_apart(names: Sequence[str], groups: Sequence[Sequence[Run]]) -> list[str]:
    """The names; equal ones with the start of the policy's hash where that tells them apart, else with a run's name."""
    found = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        places = [place for place, other in enumerate(names) if other == name]
        texts = [_checkpoints(groups[place][0]).get("policy", "")[:8] for place in places]
        if "" in texts or len(set(texts)) < len(texts):
            texts = [groups[place][0].name for place in places]
        for place, text in zip(places, texts, strict=True):
            found[place] = f"{name} ({text})"
    return found


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


def _condition(run: Run) -> dict[str, Any]:
    """What a policy's episodes depend on except the sampler and the key; another harness's file says nothing of it."""
    if run.foreign is not None:
        return {}
    return {**_weights(run), "task": _task(run), "policy options": given_options(run)}


def _weights(run: Run) -> dict[str, str]:
    return {role: digest for role, digest in _checkpoints(run).items() if role in POLICY_ROLES}


def _task(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config["task"].items() if name not in ("name", "assets")}


def _setup(sampler: str, run: Run) -> dict[str, Any]:
    """Everything that a record of this sampler depends on except the condition and the key."""
    execute = {record.execute for record in run.records if record.sampler == sampler}
    return {
        **{f"checkpoint {role}": digest for role, digest in _checkpoints(run).items() if _concerns(role, sampler)},
        **{f"version of {package}": versions[-1] for package, versions in run.simulator.items()},
        **({"execute": execute} if execute else {}),
        **({} if run.request is None else {"request": run.request}),
        "block": run.config["block"],
        "device": run.config.get("device", "cpu"),
        "critic": critic_options(run, sampler),
        "options": sampler_options(run, sampler),
    }


def _concerns(role: str, sampler: str) -> bool:
    """Whether the checkpoint or source file of this role can change the sampler's episodes."""
    if role.startswith("sampler "):
        return role == f"sampler {sampler}"
    return sampler != BASELINE or role in (*POLICY_ROLES, "task")


_BLOCKS = {
    "tune": "the block on which strengths are chosen, so the strengths were tuned on the keys reported here",
    "train": "the block that demonstrations and the critic's rollouts start from",
}


def different_simulators(first: Run, second: Run) -> str | None:
    """Which simulator version differs, which forbids pairing the two runs' episodes; None if none does."""
    for package, here in first.simulator.items():
        there = second.simulator.get(package, here)
        if here != there:
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


def request_warnings(table: str, runs: Sequence[Run]) -> list[str]:
    """One line for each field of the policy's request in which the runs of one table differ."""
    requests = [(run.name, stored_request(run.request)) for run in runs if run.request is not None]
    found = []
    for field in requests[0][1] if requests else ():
        by_value: dict[str, list[str]] = defaultdict(list)
        for name, request in requests:
            by_value[str(request[field])].append(name)
        if len(by_value) > 1:
            values = "; ".join(f"{value} in {_listed(names)}" for value, names in by_value.items())
            found.append(f"{table}: what the policy observes differs, {field} is {values}")
    return found


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
    if "target" in run.config["task"]:  # labels tell the options, not whose code they are of
        yield f"{who}: task.target", run.config["task"]["target"], run.name
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
