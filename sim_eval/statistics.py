"""Exact statistics of paired success: intervals, tests, corrections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest


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
    first: Sequence[bool],
    second: Sequence[bool],
    generator: np.random.Generator,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of mean(first - second) over resampled PAIRS (Efron 1979), as fractions.

    `first` and `second` are the two samplers' successes on the same keys, at least one.
    """
    difference = np.asarray(first, np.int8) - np.asarray(second, np.int8)
    counts = [int(np.sum(difference == value)) for value in (-1, 0, 1)]
    # Resampling pairs draws how often each of the three outcomes occurs, which is one multinomial.
    resampled = generator.multinomial(len(difference), np.array(counts) / len(difference), size=draws)
    means = (resampled[:, 2] - resampled[:, 0]) / len(difference)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
