"""Before a run: what the paired exact test can show with so many pairs, and how many pairs a difference needs."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom


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
