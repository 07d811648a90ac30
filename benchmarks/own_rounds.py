"""Samplers with critics of their own rounds, compared: `python -m benchmarks.own_rounds RUNS`.

RUNS holds two run folders a task on the same keys: TASK-qpilots_u, with the critic that `sim-eval learn` learned from
rounds that U steered (samplers unsteered, best_of_n and qpilots_u), and TASK-best_of_n, with the critic of rounds that
best_of_n played. The rows of a task are its successes; below are every two columns over all tasks' pairs: the exact
McNemar test, and the mean difference with its bootstrap interval.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

from sim_eval.analysis.pairs import corrected, counted, pairing_of, same_start
from sim_eval.runs.records import Record, read

#: Column to the ending of the folder's name, and the sampler.
COLUMNS = {
    "unsteered": ("qpilots_u", "unsteered"),
    "best_of_n, its rounds": ("best_of_n", "best_of_n"),
    "best_of_n, U's rounds": ("qpilots_u", "best_of_n"),
    "qpilots_u": ("qpilots_u", "qpilots_u"),
}


def outcomes(folder: Path, sampler: str) -> dict[int, Record]:
    """The sampler's records by episode. Raises SystemExit for an episode that ended in an error."""
    records = [record for record in read(folder) if record.sampler == sampler]
    if crashed := [record.episode for record in records if record.error is not None]:
        raise SystemExit(f"{folder}: episodes {crashed} of {sampler} ended in an error")
    return {record.episode: record for record in records}


def main() -> None:
    root = Path(sys.argv[1])
    names = sorted(path.name.removesuffix("-qpilots_u") for path in root.glob("*-qpilots_u"))
    table = {
        name: {column: outcomes(root / f"{name}-{ending}", sampler) for column, (ending, sampler) in COLUMNS.items()}
        for name in names
    }
    print("| task |", " | ".join(COLUMNS), "|")
    for name, columns in table.items():
        counts = [f"{sum(r.success for r in records.values())} of {len(records)}" for records in columns.values()]
        print(f"| {name} |", " | ".join(counts), "|")
    found = []
    for against, label in combinations(COLUMNS, 2):
        tallies = []
        for columns in table.values():
            mine, theirs = columns[label], columns[against]
            pairs = [(mine[n], theirs[n]) for n in mine if n in theirs]
            assert all(same_start(*pair) for pair in pairs)
            tallies.append(counted([(a.success, b.success) for a, b in pairs], [a.env_seed for a, _ in pairs]))
        found.append(pairing_of(label, against, tallies))
    for test in corrected(found):
        low, high = (100 * end for end in test.interval)
        print(
            f"{test.label} against {test.against}: {100 * test.difference:+.1f} points [{low:.1f}, {high:.1f}], "
            f"{test.won} won, {test.lost} lost of {test.pairs}, p = {test.p:.2g}, after Holm {test.p_holm:.2g}"
        )


if __name__ == "__main__":
    main()
