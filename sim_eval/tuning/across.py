"""One strength of a sampler for all tasks, and what it costs against one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sim_eval.errors import RunError
from sim_eval.tuning.results import Sweep, Trial, smallest_near_best

#: By strength, the trials of one sampler, one a sweep.
Trials = Mapping[float, Sequence[Trial]]


def tried_everywhere(sweeps: Sequence[Sweep], sampler: str) -> Trials:
    """The sampler's trials at the strengths that every sweep tried. Raises RunError if there is none."""
    by_sweep = [{trial.strength: trial for trial in sweep.trials if trial.sampler == sampler} for sweep in sweeps]
    common = sorted(set.intersection(*(set(trials) for trials in by_sweep)) if by_sweep else ())
    if not common:
        raise RunError(f"no strength of {sampler} was tried in all {len(sweeps)} sweeps")
    return {strength: [trials[strength] for trials in by_sweep] for strength in common}


def left_out(trials: Trials) -> list[Trial]:
    """For each sweep its trial at the strength that the other sweeps choose: what a new task can expect."""
    (count,) = {len(tried) for tried in trials.values()}
    found = []
    for index in range(count):
        others = {strength: [*tried[:index], *tried[index + 1 :]] for strength, tried in trials.items()}
        found.append(trials[smallest_near_best(others)][index])
    return found
