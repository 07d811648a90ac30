"""Before a run: what a number of paired episodes can show, and how many a difference needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim_eval.analysis.rows import ALPHA
from sim_eval.analysis.sequential import pairs_needed, simulate, smallest_difference
from sim_eval.foundation.formatting import percent

_STUDIES = 500  # simulated for the mean number of pairs until a decision


@dataclass(frozen=True)
class Study:
    """discordant: share of pairs that exactly one of two samplers solves. comparisons: tests that share the correction.
    power: probability with which a difference is to be found. Fractions.
    """

    discordant: float
    comparisons: int
    power: float

    @property
    def alpha(self) -> float:
        """Bonferroni's threshold, which Holm's correction is never stricter than."""
        return ALPHA / self.comparisons


def plan_lines(episodes: Sequence[int], differences: Sequence[float], study: Study) -> list[str]:
    """A line for each number of episodes and for each difference, a fraction."""
    lines = [
        f"Exact McNemar test, p < {ALPHA} corrected for {study.comparisons} comparisons, found with probability "
        f"{percent(study.power)} %; {percent(study.discordant)} % of the pairs are solved by exactly one sampler.",
        "",
    ]
    for count in episodes:
        smallest = smallest_difference(count, study.discordant, study.alpha, study.power)
        shown = f"a difference of {percent(smallest)} points" if smallest else "no difference"
        lines.append(f"{count:6} pairs show {shown}")
    lines.append("")
    for difference in differences:
        discordant = max(study.discordant, difference)
        needed = pairs_needed(difference, discordant, study.alpha, study.power)
        sequential = (
            "" if needed is None else f"; until=decided takes {_until_decided(difference, discordant, study, needed)}"
        )
        lines.append(f"{100 * difference:6g} points need {needed or 'more than 10000'} pairs{sequential}")
    return lines


def _until_decided(difference: float, discordant: float, study: Study, fixed: int) -> str:
    """How many pairs a run until=decided takes on average that may take twice the fixed number."""
    studies = simulate(difference, discordant, study.alpha, 2 * fixed, _STUDIES, np.random.default_rng(0))
    return f"{studies.mean_pairs:.0f} on average, and decides in {percent(studies.share)} %, with episodes={2 * fixed}"
