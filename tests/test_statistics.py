"""Statistics against published values and against other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from sim_eval.analysis.statistics import (
    Cluster,
    binned_success,
    bootstrap_mean,
    holm,
    interval_over_tasks,
    mcnemar,
    paired_interval,
    roc_area,
    tango,
    wilson,
)


def test_wilson_agrees_with_statsmodels() -> None:
    for n in (1, 10, 100, 1000):
        for successes in sorted({0, 1, n // 3, n - 1, n}):
            reference = proportion_confint(successes, n, method="wilson")
            assert wilson(successes, n) == pytest.approx(reference, abs=1e-12)


def test_mcnemar_is_exact() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(43, 6) == pytest.approx(6e-8, rel=0.05)
    for won, lost in itertools.product(range(8), repeat=2):
        table = [[3, won], [lost, 2]]
        assert mcnemar(won, lost) == pytest.approx(float(reference_mcnemar(table, exact=True).pvalue))


def test_holm_is_the_step_down_procedure() -> None:
    """Against its definition: the largest of (m - k + 1) p(k) over all that are no larger, at most 1."""
    generator = np.random.default_rng(0)
    assert holm([]).tolist() == []
    with_statsmodels = generator.random((7, 5)) ** 3
    for row, corrected_row in zip(with_statsmodels, holm(with_statsmodels), strict=True):
        assert corrected_row == pytest.approx(multipletests(row, method="holm")[1])
    for count in (1, 2, 4, 9):
        p_values = generator.random(count) ** 4
        ranks = np.argsort(np.argsort(p_values))
        for p, corrected in zip(p_values, holm(p_values), strict=True):
            assert corrected == pytest.approx(min(1.0, ((count - ranks) * p_values)[p_values <= p].max()))


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.04, 0.001]) == pytest.approx([0.08, 0.08, 0.003])
    # Smallest first: 0.01 * 4; 0.015 * 3; 0.03 * 2; 0.04 * 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.03]).tolist() == [0.03]


def alone(won: int, lost: int, pairs: int) -> tuple[Cluster, ...]:
    """Pairs of which each has a start of its own."""
    return Cluster(1, 1, won), Cluster(-1, 1, lost), Cluster(0, 1, pairs - won - lost)


def test_tango_is_as_published() -> None:
    """Tango 1998, section 6.1: 43, 0, 1, 0 lenses, lower 90 % limit. Fagerland, Lydersen & Laake 2017, Statistical
    Analysis of Contingency Tables, chapter 8: complete responses before and after therapy, 59, 6, 16, 80."""
    assert tango(0, 1, 44, level=0.9)[0] == pytest.approx(-0.096, abs=5e-4)
    assert tango(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)


def likeliest_loss_rate(won: int, lost: int, n: int, difference: float) -> float:
    """The rate of lost pairs with the largest likelihood under a difference of rates."""

    def surprise(rate: float) -> float:
        told = [(won, rate + difference), (lost, rate), (n - won - lost, 1 - 2 * rate - difference)]
        return -float(sum(xlogy(count, share) for count, share in told))

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    return float(minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x)


@pytest.mark.parametrize("n", [1, 2, 8, 50])
def test_tango_inverts_the_score_test(n: int) -> None:
    """Against the largest likelihood under each end, found by search; without discordant pairs it has a width."""
    for won, lost in itertools.product(range(n + 1), repeat=2):
        if won + lost > n or (n == 50 and (won % 9 or lost % 7)):
            continue
        low, high = tango(won, lost, n)
        assert -1 <= low <= (won - lost) / n <= high <= 1
        assert high - low > 0.1
        assert tango(lost, won, n) == pytest.approx((-high, -low), abs=1e-7)
        for end in (low, high):
            if abs(end) < 1 - 1e-6:
                variance = (2 * likeliest_loss_rate(won, lost, n, end) + end - end**2) / n
                assert abs((won - lost) / n - end) / np.sqrt(variance) == pytest.approx(1.959964, rel=2e-3)


def test_the_interval_of_few_pairs_agrees_with_the_test() -> None:
    assert paired_interval(0, 0, alone(0, 0, 8)) == pytest.approx((-0.324, 0.324), abs=1e-3)
    low, high = paired_interval(0, 3, alone(0, 3, 8))  # p = 0.25
    assert (low, high) == pytest.approx((-0.694, 0.071), abs=1e-3)


def test_the_interval_of_starts_that_repeat_counts_a_start_once_where_its_pairs_agree() -> None:
    """Two pairs of each start that always agree say no more than one of them, and without a difference, too."""
    twice = (Cluster(2, 2, 30), Cluster(-2, 2, 10), Cluster(0, 2, 60))
    assert paired_interval(60, 20, twice) == pytest.approx(paired_interval(30, 10, alone(30, 10, 100)), abs=2e-3)
    assert paired_interval(0, 0, (Cluster(0, 2, 8),)) == paired_interval(0, 0, alone(0, 0, 8))
    assert paired_interval(16, 0, (Cluster(2, 2, 8),)) == paired_interval(8, 0, alone(8, 0, 8))
    assert paired_interval(1, 1, (Cluster(0, 9, 1),)) == pytest.approx(tango(1 / 9, 1 / 9, 1))


def test_the_interval_of_starts_that_repeat_is_no_narrower_than_that_of_their_pairs() -> None:
    apart = (Cluster(0, 2, 10), Cluster(0, 2, 40))  # each start of the first ten wins one pair and loses one
    assert paired_interval(10, 10, apart) == tango(10, 10, 100)


@pytest.mark.parametrize("agree", [0.0, 0.6])
@pytest.mark.parametrize(("starts", "won", "lost"), [(50, 0.35, 0.05), (50, 0.2, 0.15), (8, 0.05, 0.05)])
def test_the_interval_covers_the_truth_as_often_as_it_says(agree: float, starts: int, won: float, lost: float) -> None:
    """Three pairs of each start, of which a share `agree` ends as the start's first does."""
    generator, studies, covered = np.random.default_rng(0), 2000, 0
    for _ in range(studies):
        outcomes = generator.choice([1, -1, 0], p=[won, lost, 1 - won - lost], size=(starts, 3))
        outcomes = np.where(generator.random((starts, 3)) < agree, outcomes[:, :1], outcomes)
        kinds = [Cluster(int(surplus), 3, 1) for surplus in outcomes.sum(1)]
        low, high = paired_interval(int((outcomes == 1).sum()), int((outcomes == -1).sum()), kinds)
        covered += low <= won - lost <= high
    assert covered / studies >= 0.925


def test_the_bootstrap_resamples_pairs() -> None:
    low, high = bootstrap_mean([alone(120, 40, 400)], np.random.default_rng(1))
    spread = np.sqrt((160 / 400 - 0.2**2) / 400)  # of the mean of differences in -1, 0, 1
    assert (low + high) / 2 == pytest.approx(0.2, abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.06)
    # Paired: two samplers that always agree differ by exactly nothing, however noisy each is.
    assert bootstrap_mean([alone(0, 0, 400)], np.random.default_rng(1)) == (0.0, 0.0)


def test_the_bootstrap_over_tasks_weighs_them_alike() -> None:
    low, high = bootstrap_mean([alone(40, 0, 400), alone(12, 0, 40)], np.random.default_rng(1))
    spread = np.sqrt(0.1 * 0.9 / 400 + 0.3 * 0.7 / 40) / 2
    assert (low + high) / 2 == pytest.approx(0.2, abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.06)


@pytest.mark.parametrize(("pairs", "won", "lost"), [(100, 0.35, 0.05), (100, 0.2, 0.15), (50, 0.35, 0.1)])
def test_the_bootstrap_covers_the_truth_as_often_as_it_says(pairs: int, won: float, lost: float) -> None:
    generator, studies, covered = np.random.default_rng(0), 2000, 0
    for _ in range(studies):
        wins, losses, _ties = (int(count) for count in generator.multinomial(pairs, [won, lost, 1 - won - lost]))
        low, high = bootstrap_mean([alone(wins, losses, pairs)], generator, draws=1000)
        covered += low - 1e-9 <= won - lost <= high + 1e-9
    assert 0.93 <= covered / studies <= 0.97


def test_the_bootstrap_resamples_starts_whole() -> None:
    """Two pairs of each start that always agree say no more than one of them."""
    twice = (Cluster(2, 2, 30), Cluster(-2, 2, 10), Cluster(0, 2, 60))
    once = bootstrap_mean([alone(30, 10, 100)], np.random.default_rng(1))
    assert bootstrap_mean([twice], np.random.default_rng(1)) == once


def test_the_interval_over_tasks_is_students() -> None:
    differences = [0.1, 0.3, 0.2, 0.4]
    low, high = interval_over_tasks(differences) or (0.0, 0.0)
    reference = DescrStatsW(differences).tconfint_mean(0.05)
    assert (low, high) == pytest.approx(reference)
    assert interval_over_tasks([0.1, 0.3]) is None


def test_bins_are_filled_alike_and_rise() -> None:
    values = [3.0, 1.0, 2.0, 4.0, 6.0, 5.0]
    low, high = binned_success(values, [True, False, False, True, True, False], bins=2)
    assert (low.value, low.n, low.successes) == (2.0, 3, 1)
    assert (high.value, high.n, high.successes) == (5.0, 3, 2)
    assert high.interval == wilson(2, 3)
    assert [part.n for part in binned_success([1.0], [True], bins=4)] == [1]
    assert binned_success([], [], bins=4) == []


def test_roc_area_is_the_share_of_pairs_ranked_right() -> None:
    generator = np.random.default_rng(0)
    values, successes = generator.integers(0, 9, 60), generator.random(60) < 0.4
    pairs = [(won, lost) for won in values[successes] for lost in values[~successes]]
    right = float(np.mean([1.0 if won > lost else 0.5 if won == lost else 0.0 for won, lost in pairs]))
    assert roc_area(values.tolist(), successes.tolist()) == pytest.approx(right)
    assert roc_area([1.0, 2.0], [True, True]) is None
