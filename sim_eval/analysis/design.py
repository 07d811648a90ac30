"""Whether runs kept the design that was fixed before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import listed
from sim_eval.runs.design import DESIGN, Design, read_design
from sim_eval.runs.reader import Run
from sim_eval.runs.stored_options import DECIDED

_KEPT = "tasks, policy, samplers, episodes, seed, reference and correction"


@dataclass(frozen=True)
class DesignCheck:
    """A design beside the runs. `departures`: what differs from it. `unshown`: why it may be younger than the records.

    The hash in a run's provenance was there before its first record. It proves as much as the folder's keeper can be
    trusted with: a hash that others hold, in a registration or a message, proves more.
    """

    design: Design
    departures: Sequence[str]
    unshown: Sequence[str]

    @property
    def kept(self) -> bool:
        """Whether nothing differs and every run stored the design's hash first."""
        return not self.departures and not self.unshown

    def __str__(self) -> str:
        named = f"Design {self.design.path.name}, SHA-256 {self.design.sha256}"
        before = "its hash was in every run's provenance before the first record"
        if self.unshown:
            before = f"it cannot be shown that it was fixed before the first record: {'; '.join(self.unshown)}"
        if self.departures:
            return f"{named}: not kept: {'; '.join(self.departures)}. Besides, {before}."
        return f"{named}: kept ({_KEPT}), {'and' if self.kept else 'but'} {before}."


def stored_design(runs: Sequence[Run]) -> Design | None:
    """The design that every run's folder holds a copy of, if these are the runs of all its tasks: some show nothing.

    Raises RunError for a damaged copy.
    """
    copies = [run.folder / DESIGN for run in runs]
    if not all(copy.is_file() for copy in copies):
        return None
    designs = {design.sha256: design for design in map(read_design, copies)}
    design = next(iter(designs.values()))
    complete = len(designs) == 1 and set(design.tasks) <= {run.setting[0] for run in runs}
    return design if complete else None


def check_design(design: Design, runs: Sequence[Run], tables: Sequence[Table]) -> DesignCheck:
    """Compare the runs, and the tables that they make, with the design."""
    tasks = dict.fromkeys(run.setting[0] for run in runs)
    found = [f"no run of task {task}" for task in design.tasks if task not in tasks]
    found += [f"task {task} is not in it" for task in tasks if task not in design.tasks]
    for run in runs:
        found += _of_run(design, run)
    for table in tables:
        found += _of_table(design, table)
    return DesignCheck(design, list(dict.fromkeys(found)), [why for run in runs if (why := _unshown(design, run))])


def _of_run(design: Design, run: Run) -> list[str]:
    if run.foreign is not None:
        return [f"{run.name} is another harness's file"]
    fixed = {"policy": design.policy, "seed": design.seed, "block": "eval", "until": None}
    own = {option: run.config.get(option) for option in fixed}
    own["until"] = DECIDED if own["until"] == DECIDED else None
    return [
        f"{option} of {run.name} is {own[option]}" + (f", not {value}" if value is not None else "")
        for option, value in fixed.items()
        if own[option] != value
    ]


def _of_table(design: Design, table: Table) -> list[str]:
    samplers = [row.sampler for row in table.rows]
    found = [f"{name} did not run on {table.place}" for name in design.samplers if name not in samplers]
    found += [f"{row.label} ran on {table.place}" for row in table.rows if row.sampler not in design.samplers]
    found += [
        f"{row.label} has {row.n} of {design.episodes} episodes on {table.place}"
        for row in table.rows
        if row.sampler in design.samplers and row.n != design.episodes
    ]
    if table.references != [design.reference]:
        found.append(f"the reference on {table.place} is {listed(table.references) or 'none'}, not {design.reference}")
    return found


def _unshown(design: Design, run: Run) -> str | None:
    """Why the run does not show that the design is older than its first record; None if it does."""
    stored = [account.get("design") for account in run.provenance]
    if stored and stored[0] == design.sha256:
        return None
    if design.sha256 in stored:
        return f"{run.name} began without it"
    if other := next((digest for digest in stored if digest), None):
        return f"{run.name} holds the hash of another one, {other}"
    return f"{run.name} holds no hash"
