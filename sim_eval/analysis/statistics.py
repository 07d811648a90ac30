"""Statistics of paired success: intervals, tests, corrections, and how well a value foretells success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, rankdata


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a success rate (Wilson 1927, JASA 22), as fractions. n is at least 1."""
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact McNemar p (McNemar 1947, Psychometrika 12) from the discordant pairs.

    Under the null each discordant pair is won with probability 1/2. No discordant pair: 1.
    """
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979, Scandinavian J. of Statistics 6), in the order given."""
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = worst
    return corrected


def bootstrap_difference(
    tasks: Sequence[tuple[int, int, int]],
    generator: np.random.Generator,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a paired difference of success rates over resampled PAIRS (Efron 1979), as fractions.

    `tasks` holds (won, lost, pairs) of one task or more, pairs at least 1; over several, the interval is of their mean
    difference, each task's pairs resampled among themselves. Where fewer than about three pairs are discordant it
    covers less than it says (87 % at two of a hundred, expected), and with none it is a point: the exact test holds.
    """
    resampled = np.zeros(draws)
    for won, lost, pairs in tasks:
        # Resampling pairs draws how often each of the three outcomes occurs, which is one multinomial.
        shares = np.array([won, lost, pairs - won - lost]) / pairs
        counts = generator.multinomial(pairs, shares, size=draws)
        resampled += (counts[:, 0] - counts[:, 1]) / pairs / len(tasks)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Bin:
    """Episodes of similar value: their mean value, how many succeeded, and the rate's Wilson interval (fractions)."""

    value: float
    n: int
    successes: int
    interval: tuple[float, float]


def binned_success(values: Sequence[float], successes: Sequence[bool], bins: int) -> list[Bin]:
    """Success rates over `bins` equally filled bins of rising value; at most one a value given."""
    order = np.argsort(values, kind="stable")
    found = []
    for part in np.array_split(order, min(bins, len(order)) or 1):
        if len(part):
            count = int(np.sum(np.asarray(successes, bool)[part]))
            mean = float(np.mean(np.asarray(values, float)[part]))
            found.append(Bin(mean, len(part), count, wilson(count, len(part))))
    return found


def roc_area(values: ArrayLike, successes: ArrayLike) -> float | None:
    """Area under the ROC curve: how often a success has a higher value than a failure. None without both.

    0.5: the values tell nothing; 1: they rank every success above every failure. Ties count half.
    """
    labels = np.asarray(successes, bool)
    won, lost = int(labels.sum()), int((~labels).sum())
    if not won or not lost:
        return None
    ranks = rankdata(values)
    return float((ranks[labels].sum() - won * (won + 1) / 2) / (won * lost))
