"""What until=decided costs and saves: `python -m benchmarks.sequential [REPORT.html ...]`.

Simulated: how often a study of five samplers that do not differ stops wrongly, and after how many pairs true
differences are decided. Replayed: after how many of the episodes in published reports each comparison would have been
decided.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sim_eval.analysis.rows import ALPHA
from sim_eval.analysis.sequential import decided_at, evidence, running_p, simulate

STUDIES, CAP, SAMPLERS = 2000, 200, 5
_DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)


def main() -> None:
    generator = np.random.default_rng(0)
    wrong = sum(_null_study(generator) for _ in range(STUDIES))
    print(f"{wrong} of {STUDIES} null studies, {SAMPLERS} equal samplers over at most {CAP} episodes, stop wrongly")
    for comparisons in (1, SAMPLERS * (SAMPLERS - 1) // 2):
        for difference in (0.1, 0.2, 0.4):
            alpha, discordant = ALPHA / comparisons, max(0.4, difference + 0.1)
            studies = simulate(difference, discordant, alpha, CAP, STUDIES, generator)
            print(
                f"{comparisons} comparisons, difference {difference}: {studies.share:.0%} decided, "
                f"{studies.mean_pairs:.0f} of {CAP} pairs on average"
            )
    for path in sys.argv[1:]:
        _replay(Path(path))


def _null_study(generator: np.random.Generator) -> bool:
    """Whether any two of several equal samplers, on starts of any difficulty, are told apart."""
    solved = generator.random((SAMPLERS, CAP)) < generator.random(CAP)
    return any(when is not None for when in _decisions(solved))


def _decisions(solved: np.ndarray) -> list[int | None]:
    """When every two rows of outcomes (samplers, episodes) are told apart."""
    pairs = [list(zip(*pair, strict=True)) for pair in combinations(solved.tolist(), 2)]
    return decided_at([running_p(evidence(pair)) for pair in pairs], ALPHA)


def _replay(report: Path) -> None:
    """The comparisons of each table of a report, corrected over the table's own."""
    found = _DATA.search(report.read_text())
    if found is None:
        sys.exit(f"{report} is no report of sim-eval compare")
    data = json.loads(found[1])
    for table in data["tables"]:
        starts: Sequence[list[list[object]]] = [start[4] for start in table["starts"] if 0 not in start[4]]
        solved = np.array([[bool(cell[1]) for cell in cells] for cells in starts]).T
        when = _decisions(solved)
        said = [
            f"{first} - {second} {'-' if pairs is None else pairs}"
            for (first, second), pairs in zip(combinations(data["samplers"], 2), when, strict=True)
        ]
        print(f"{table['name']}, {len(starts)} episodes: {'; '.join(said)}")


if __name__ == "__main__":
    main()
