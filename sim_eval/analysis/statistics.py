"""Statistics of paired success rates: intervals, tests, corrections, and how well a value predicts success."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import binomtest, mannwhitneyu, norm
from scipy.stats import t as student_t

#: Control steps at the start of an episode, in which Q's prediction of success is judged by itself, too.
EARLY = 40


@dataclass(frozen=True)
class Cluster:
    """`count` groups of `pairs` pairs each, of which the first sampler wins `surplus` more than it loses."""

    surplus: int
    pairs: int
    count: int


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score 95 % interval of a success rate (Wilson 1927, JASA 22), as fractions. n >= 1."""
    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact McNemar p-value (McNemar 1947, Psychometrika 12) from the discordant pairs.

    Under the null hypothesis each discordant pair is won with probability 1/2. Without discordant pairs p is 1.
    """
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction (Holm 1979, Scandinavian J. of Statistics 6) along the last axis, order kept."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(1.0, np.maximum.accumulate(steps, axis=-1)), -1)
    return corrected


def tango(won: float, lost: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of a paired difference of success rates, (won - lost) / n, as fractions.

    Tango 1998, Statistics in Medicine 17, equations 24 to 26: the differences that a score test does not reject, whose
    variance is the one that each of these differences implies. So it has a width without discordant pairs, too. It
    excludes 0 where McNemar's test without continuity correction rejects, at 4 won and 0 lost already; the exact test
    rejects from 6 and 0 on. `won`, `lost`: discordant pairs of the `n`, which may be fractions. n > 0.
    """
    z = float(norm.ppf((1 + level) / 2))

    def excess(difference: float) -> float:
        """(score^2 - z^2) * variance, for both are 0 at the ends."""
        b = -won - lost + (2 * n - won + lost) * difference
        root = math.sqrt(max(0.0, b * b + 8 * n * lost * difference * (1 - difference)))
        rate_lost = (root - b) / (4 * n)  # the likeliest under this difference
        variance = n * (2 * rate_lost + difference * (1 - difference))
        return (won - lost - n * difference) ** 2 - z * z * variance

    seen, beside = (won - lost) / n, 1e-9  # at the difference seen itself, `excess` may be 0
    low = -1.0 if seen - beside <= -1 else float(brentq(excess, -1.0, seen - beside))
    high = 1.0 if seen + beside >= 1 else float(brentq(excess, seen + beside, 1.0))
    return low, high


def paired_interval(won: int, lost: int, clusters: Sequence[Cluster]) -> tuple[float, float]:
    """95 % interval of the difference of two success rates on one task, as fractions.

    `won`, `lost`: discordant pairs. `clusters`: all pairs by start, at least one. Where each start occurs once, the
    interval is `tango`'s. Where starts occur again with other noise (LIBERO beyond 50 episodes), it is `tango`'s of
    all counts divided by the design effect (Rao & Scott 1992, Biometrics 48): the variance of the difference between
    starts (Obuchowski 1998, Statistics in Medicine 17) over that between pairs, at least 1. Where one of them is
    unknown, as all pairs end alike or have one start, it is the mean number of pairs of a start: a start counts once.
    """
    n = sum(cluster.pairs * cluster.count for cluster in clusters)
    starts = sum(cluster.count for cluster in clusters)
    difference = (won - lost) / n
    effect = n / starts
    if n > starts > 1 and (won + lost) * n != (won - lost) ** 2:
        between = sum(cluster.count * (cluster.surplus - difference * cluster.pairs) ** 2 for cluster in clusters)
        within = won + lost - n * difference**2
        effect = max(1.0, between * starts / (starts - 1) / within)
    return tango(won / effect, lost / effect, n / effect)


def bootstrap_mean(
    tasks: Sequence[Sequence[Cluster]], generator: np.random.Generator, draws: int = 10_000
) -> tuple[float, float]:
    """Percentile 95 % bootstrap interval of the mean over tasks of paired differences (Efron 1979), as fractions.

    `tasks`: the clusters of each task, at least one. Clusters, such as all pairs from one start, are resampled whole,
    within each task. With fewer than about three discordant pairs the interval is too narrow (87 % coverage at an
    expected two in a hundred), and with none it is a single point.
    """
    resampled = np.zeros(draws)
    for clusters in tasks:
        # Resampling clusters is one multinomial draw of how often each kind of cluster occurs.
        counts = np.array([cluster.count for cluster in clusters])
        drawn = generator.multinomial(counts.sum(), counts / counts.sum(), size=draws)
        surplus = drawn @ [cluster.surplus for cluster in clusters]
        resampled += surplus / (drawn @ [cluster.pairs for cluster in clusters]) / len(tasks)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Sequence[float], starts: Sequence[int]) -> tuple[float, float] | None:
    """95 % interval of the mean of paired differences, in their unit: Student's t over starts; None for fewer than two.

    `starts`: the start of each difference. Its variance is that of the sums of residuals of each start (Liang & Zeger
    1986, Biometrika 73, with independence between starts), so that pairs of one start with other noise do not count as
    independent. Where each start occurs once, it is the paired t-test's interval.
    """
    groups, members = np.unique(starts, return_inverse=True)
    if len(groups) < 2:
        return None
    mean = float(np.mean(values))
    sums = np.bincount(members, weights=np.asarray(values, float) - mean)
    error = math.sqrt(len(groups) / (len(groups) - 1) * float(sums @ sums)) / len(values)
    half = float(student_t.ppf(0.975, len(groups) - 1)) * error
    return mean - half, mean + half


def interval_over_tasks(differences: Sequence[float]) -> tuple[float, float] | None:
    """Student's t 95 % interval of the mean difference over tasks like these, as fractions; None for fewer than three.

    The task is the unit that is drawn, and the spread between tasks counts, which resampling within tasks leaves out.
    """
    if len(differences) < 3:
        return None
    return mean_interval(differences, range(len(differences)))


@dataclass(frozen=True)
class Bin:
    """Episodes of similar value: their mean value, how many succeeded, and the rate's Wilson interval (fractions)."""

    value: float
    n: int
    successes: int
    interval: tuple[float, float]


def binned_success(values: Sequence[float], successes: Sequence[bool], bins: int) -> list[Bin]:
    """Success rates in at most `bins` bins of equal size, in ascending order of value."""
    found = []
    for part in np.array_split(np.argsort(values, kind="stable"), min(bins, len(values)) or 1):
        if len(part):
            count = int(np.asarray(successes, bool)[part].sum())
            mean = float(np.asarray(values, float)[part].mean())
            found.append(Bin(mean, len(part), count, wilson(count, len(part))))
    return found


def roc_area(values: ArrayLike, successes: ArrayLike) -> float | None:
    """Area under the ROC curve: how often a success has a higher value than a failure; ties count half.

    0.5: the values say nothing about success; 1: every success ranks above every failure. None unless both occur.
    """
    labels = np.asarray(successes, bool)
    won, lost = np.asarray(values)[labels], np.asarray(values)[~labels]
    if not won.size or not lost.size:
        return None
    return float(mannwhitneyu(won, lost, method="asymptotic").statistic / (won.size * lost.size))


def letters(ordered: Sequence[str], different: Collection[frozenset[str]]) -> dict[str, str]:
    """The letters of each name: two names share none exactly if their pair is in `different`.

    By insertion and absorption (Piepho 2004, J. Computational and Graphical Statistics 13). Groups are lettered in the
    order of their first names, so that `a` goes to the first of `ordered`, as a rule the best.
    """
    groups = [frozenset(ordered)]
    for pair in sorted(different, key=sorted):
        split = [group - {name} for group in groups if pair <= group for name in pair]
        groups = _largest([group for group in groups if not pair <= group] + split)
    place = {name: index for index, name in enumerate(ordered)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {name: "".join(_letter(index) for index, group in enumerate(groups) if name in group) for name in ordered}


def _largest(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The groups that lie in no other one, each once."""
    return [group for group in dict.fromkeys(groups) if not any(group < other for other in groups)]


def _letter(index: int) -> str:
    """a to z, then a2 to z2, and so on."""
    round_, place = divmod(index, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(round_ + 1) if round_ else "")
