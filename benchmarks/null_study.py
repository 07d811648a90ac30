"""How often the paired test finds a difference where there is none: `python -m benchmarks.null_study RUN`.

The run holds one sampler, on starts that come again with other noise, as those of a LIBERO task do after 50 episodes.
Each split deals a start's episodes at random to two sides and pairs them: one sampler against itself, on the same
starts, with other noise. A test at 5 % that is honest marks 5 splits of 100 or, being exact, rather fewer.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sim_eval.analysis.statistics import mcnemar
from sim_eval.runs.records import Record, read

_SPLITS = 100
_LEVEL = 0.05


def outcomes_per_start(records: Iterable[Record]) -> list[np.ndarray]:
    """Successes of each start that came at least twice, as booleans; an odd one out is dropped."""
    starts: dict[int, list[bool]] = defaultdict(list)
    for one in records:
        if one.error is None:
            starts[one.env_seed].append(one.success)
    return [np.array(won[: len(won) // 2 * 2]) for won in starts.values() if len(won) > 1]


def split(starts: Iterable[np.ndarray], generator: np.random.Generator) -> tuple[int, int]:
    """Pairs that only the first side solves, and pairs that only the second does."""
    sides = [generator.permutation(won).reshape(2, -1) for won in starts]
    first, second = np.concatenate(sides, axis=1)
    return int(np.sum(first & ~second)), int(np.sum(second & ~first))


def main() -> None:
    parser = argparse.ArgumentParser(description="A sampler against itself: how many splits does the test mark?")
    parser.add_argument("run", type=Path, help="run folder of one sampler, its starts run with several noise seeds")
    arguments = parser.parse_args()
    records = read(arguments.run)
    if len(samplers := {one.sampler for one in records}) != 1:
        parser.error(f"{arguments.run} holds {', '.join(sorted(samplers))}: one sampler is compared with itself")
    starts = outcomes_per_start(records)
    if not starts:
        parser.error(f"{arguments.run}: no start came twice; run a LIBERO task with episodes=1000")
    generator = np.random.default_rng(0)
    marked = sum(mcnemar(*split(starts, generator)) < _LEVEL for _ in range(_SPLITS))
    pairs = sum(len(won) for won in starts) // 2
    print(f"{marked} of {_SPLITS} splits marked at p < {_LEVEL}; {pairs} pairs each, on {len(starts)} starts")


if __name__ == "__main__":
    main()
