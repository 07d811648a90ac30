"""What one steering strength for all tasks costs against one for each, on the tuning episodes of published sweeps.

usage: python -m benchmarks.one_strength results/sweeps/*-flow-critic.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from sim_eval.runs.sweeps import left_out, mean_rate, read_sweep, smallest_near_best, tried_everywhere


def main(paths: list[str]) -> None:
    sweeps = [sweep for path in paths if (sweep := read_sweep(Path(path))) is not None]
    samplers = sorted({trial.sampler for sweep in sweeps for trial in sweep.trials})
    print(f"Mean success in percent over {len(sweeps)} sweeps")
    print("| sampler | strengths tried in all | best of each | one for all | its success | chosen by the others |")
    print("|---|---|---|---|---|---|")
    for sampler in samplers:
        trials = tried_everywhere(sweeps, sampler)
        each = [max(tried, key=lambda trial: trial.rate) for tried in zip(*trials.values(), strict=True)]
        shared = smallest_near_best(trials)
        rates = (mean_rate(each), mean_rate(trials[shared]), mean_rate(left_out(trials)))
        best, one, fresh = (f"{100 * rate:.1f}" for rate in rates)
        print(f"| {sampler} | {', '.join(f'{s:g}' for s in trials)} | {best} | {shared:g} | {one} | {fresh} |")


if __name__ == "__main__":
    main(sys.argv[1:])
