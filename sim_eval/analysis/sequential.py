"""When enough episodes have been seen: an anytime-valid version of the paired exact test.

Under McNemar's null hypothesis a discordant pair is won with probability 1/2. The e-value is the likelihood of the
pairs so far where that probability is uniformly distributed, divided by their likelihood under the null hypothesis.
Under the null hypothesis it exceeds 1 / alpha, at any time, with probability alpha at most (Ville 1939), however often
one looks and whenever one stops. The mixture is that of Robbins 1970 (Annals of Mathematical Statistics 41); the survey
of the method is Ramdas et al. 2023 (Statistical Science 38). Its inverse at its highest is a p-value that holds at any
stopping time, so that Holm's correction applies to it as to any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln
from scipy.stats import binom

from sim_eval.analysis.statistics import holm


def log10_e_value(won: ArrayLike, lost: ArrayLike) -> np.ndarray:
    """log10 of the e-value of so many discordant pairs: 2^m / ((m + 1) C(m, won)), m = won + lost."""
    won, lost = np.asarray(won), np.asarray(lost)
    return np.asarray(((won + lost) * np.log(2) + betaln(won + 1, lost + 1)) / np.log(10))


def anytime_p(won: int, lost: int) -> float:
    """A p-value of these pairs that holds whenever one has stopped: the inverse of the e-value, 1 at most."""
    return min(1.0, 10.0 ** -float(log10_e_value(won, lost)))


def evidence(pairs: Sequence[tuple[bool, bool]]) -> tuple[float, ...]:
    """log10 of the e-value after each pair, outcomes of the first and the second sampler, in an order fixed before."""
    won = np.cumsum([first and not second for first, second in pairs])
    lost = np.cumsum([second and not first for first, second in pairs])
    return tuple(log10_e_value(won, lost).tolist())


def running_p(evidence: Sequence[float]) -> np.ndarray:
    """The p-value after each pair: the inverse of the highest e-value so far, 1 at most. It never rises."""
    return np.asarray(10.0 ** -np.maximum(0.0, np.maximum.accumulate(evidence)))


def decided_at(series: Sequence[Sequence[float] | np.ndarray], alpha: float) -> list[int | None]:
    """For each comparison, given by its `running_p`, the number of pairs after which it was decided; None if never.

    Decided: its p after Holm's correction over all comparisons is below `alpha`. All advance together; one that has
    ended keeps its last p, and one without any pair has 1.
    """
    longest = max(map(len, series), default=0)
    if not longest:
        return [None] * len(series)
    columns = [np.pad(p, (0, longest - len(p)), "edge") if len(p) else np.ones(longest) for p in series]
    rejected = holm(np.stack(columns, axis=1)) < alpha  # (pairs, comparisons)
    return [
        min(int(found.argmax()) + 1, len(p)) if found.any() else None
        for found, p in zip(rejected.T, series, strict=True)
    ]


@dataclass(frozen=True)
class Studies:
    """Simulated studies of one comparison: how many there were, and after how many pairs each of the decided ended."""

    count: int
    cap: int
    decided: np.ndarray

    @property
    def share(self) -> float:
        """The share of studies that were decided."""
        return len(self.decided) / self.count

    @property
    def mean_pairs(self) -> float:
        """The mean number of pairs of a study; those that were not decided end at `cap`."""
        return float((self.decided.sum() + (self.count - len(self.decided)) * self.cap) / self.count)


def simulate(
    difference: float, discordant: float, alpha: float, cap: int, count: int, generator: np.random.Generator
) -> Studies:
    """Studies in which one sampler is better by `difference`; a share `discordant` of the pairs tells them apart."""
    better = (discordant + difference) / 2
    drawn = generator.random((count, cap))
    won, lost = np.cumsum(drawn < better, axis=1), np.cumsum((drawn >= better) & (drawn < discordant), axis=1)
    stops = log10_e_value(won, lost) > -np.log10(alpha)
    return Studies(count, cap, stops.argmax(axis=1)[stops.any(axis=1)] + 1)


def power(pairs: int, difference: float, discordant: float, alpha: float) -> float:
    """The probability that the exact McNemar test finds a difference of success rates, p < `alpha`.

    `difference`: between the rates, a fraction; `discordant`: the share of pairs that exactly one sampler solves, at
    least the difference. Exact: it sums over the number of discordant pairs and over that of won ones.
    """
    low, high = binom.interval(1 - 1e-12, pairs, discordant)  # beyond these numbers of discordant pairs: nothing
    counts = np.arange(max(0, int(low)), int(high) + 1)
    share = (1 + difference / discordant) / 2
    lost = binom.ppf(alpha / 2, counts, 0.5) - 1  # the most losses, or wins, that are still significant; -1: none
    found = binom.cdf(lost, counts, 1 - share) + binom.cdf(lost, counts, share)
    return float(binom.pmf(counts, pairs, discordant) @ found)


def smallest_difference(pairs: int, discordant: float, alpha: float, wanted: float) -> float | None:
    """The smallest difference, in whole points, that is found with probability `wanted`; None if none is, up to the
    largest possible one, `discordant`."""
    points = range(1, round(100 * discordant) + 1)
    return next((point / 100 for point in points if power(pairs, point / 100, discordant, alpha) >= wanted), None)


def pairs_needed(difference: float, discordant: float, alpha: float, wanted: float, most: int = 10_000) -> int | None:
    """The number of pairs from which on a difference is found with probability `wanted`; None if more than `most`.

    The power of an exact test rises in saw teeth; the number is found by bisection, and so may lie within one tooth.
    """
    high = 1
    while power(high, difference, discordant, alpha) < wanted:
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, difference, discordant, alpha) >= wanted else (middle, high)
    return high
