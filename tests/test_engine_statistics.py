"""Statistics against published values and against other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from sim_eval.statistics import bootstrap_difference, holm, mcnemar, wilson


def test_wilson_agrees_with_the_formula() -> None:
    for successes, n in [(0, 10), (42, 100), (79, 100), (100, 100)]:
        z, rate = 1.959963984540054, successes / n
        centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
        assert wilson(successes, n) == pytest.approx((centre - half, centre + half), abs=1e-12)


def test_mcnemar_is_exact() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(43, 6) == pytest.approx(6e-8, rel=0.05)
    for won, lost in itertools.product(range(8), repeat=2):
        table = [[3, won], [lost, 2]]
        assert mcnemar(won, lost) == pytest.approx(float(reference_mcnemar(table, exact=True).pvalue))


def test_holm_agrees_with_statsmodels() -> None:
    generator = np.random.default_rng(0)
    assert holm([]) == []
    for count in (1, 2, 4, 9):
        p_values = (generator.random(count) ** 4).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert holm([0.04, 0.04, 0.001]) == pytest.approx([0.08, 0.08, 0.003])


def test_the_bootstrap_resamples_pairs() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(400) < 0.7, generator.random(400) < 0.5
    low, high = bootstrap_difference(first.tolist(), second.tolist(), np.random.default_rng(1))
    difference = first.astype(float) - second
    spread = difference.std() / 20
    assert (low + high) / 2 == pytest.approx(difference.mean(), abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.06)
    # Paired: two samplers that always agree differ by exactly nothing, however noisy each is.
    assert bootstrap_difference(first.tolist(), first.tolist(), np.random.default_rng(1)) == (0.0, 0.0)
