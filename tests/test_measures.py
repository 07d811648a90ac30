"""What records hold besides success, compared pair by pair, and the rows that cannot be told from the best."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks import made_run
from sim_eval.analysis.best import best_sets
from sim_eval.analysis.compare import compare
from sim_eval.analysis.statistics import mean_interval
from sim_eval.report import comparison as report
from sim_eval.runs.records import Record, read

OUTCOMES = {"unsteered": [0] * 10 + [1] * 10, "qpilots_u": [1] * 16 + [0] * 4, "vgps": [1] * 12 + [0] * 8}


def measured_run(folder: Path, task: str = "made") -> Path:
    """Steered episodes take a second less where they succeed, and cover 2 units less."""
    run = made_run.write(folder, task, OUTCOMES)

    def told(record: Record) -> Record:
        steered = record.sampler != "unsteered"
        return dataclasses.replace(
            record,
            time_to_success=5.0 + record.episode % 3 - steered if record.success else None,
            action_path=30.0 + record.episode - 2 * steered,
            goals_met=1.0 if record.success else 0.5,
        )

    made_run.rewrite(run, [told(record) for record in read(run)])
    return run


def test_time_to_success_is_compared_over_what_both_solve(tmp_path: Path) -> None:
    (table,) = compare([measured_run(tmp_path / "run")]).tables
    steered = table.row("qpilots_u").measured
    assert (steered["time_to_success"].pairs, steered["time_to_success"].against) == (6, "unsteered")
    assert steered["time_to_success"].difference == pytest.approx(-1.0)
    assert steered["action_path"].pairs == 20
    assert steered["action_path"].interval == pytest.approx((-2.0, -2.0))
    assert steered["goals_met"].difference == pytest.approx(0.15)
    assert table.row("unsteered").measured["goals_met"].difference is None


def test_every_report_shows_what_is_measured(tmp_path: Path) -> None:
    comparison = compare([measured_run(tmp_path / "run")])
    report.write(comparison, tmp_path)
    row = json.loads((tmp_path / "summary.json").read_text())["tables"][0]["rows"][1]
    assert row["measured"]["time_to_success"]["difference"] == pytest.approx(-1.0)
    for text in (report.terminal(comparison, 200), (tmp_path / "report.md").read_text()):
        assert "-1.0 [-1.0..-1.0], n=6" in text
        assert "cannot be told from it: unsteered and vgps." in text
    page = (tmp_path / "report.html").read_text()
    assert "the n episodes that both rows solve" in page
    assert "cannot be told from it: unsteered and vgps." in page


def test_runs_of_earlier_versions_show_no_measures(tmp_path: Path) -> None:
    comparison = compare([made_run.write(tmp_path / "run", "made", OUTCOMES)])
    report.write(comparison, tmp_path)
    assert "time, s" not in report.terminal(comparison, 200)
    assert "measured" not in (tmp_path / "summary.json").read_text()
    assert "Besides success" not in (tmp_path / "report.html").read_text() + (tmp_path / "report.md").read_text()


def test_a_share_of_goals_that_is_success_is_not_shown(tmp_path: Path) -> None:
    run = made_run.write(tmp_path / "run", "made", OUTCOMES)
    made_run.rewrite(run, [dataclasses.replace(record, goals_met=float(record.success)) for record in read(run)])
    assert not compare([run]).tables[0].measures


def test_the_interval_of_a_mean_is_the_paired_t_test_s_and_counts_a_start_once() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 15)
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean_interval(values.tolist(), range(15)) == pytest.approx(tuple(expected))
    doubled = mean_interval([*values, *values], [*range(15), *range(15)])
    assert doubled == pytest.approx(tuple(expected)), "the same starts again tell nothing new"
    assert mean_interval([1.0, 2.0], [7, 7]) is None


def test_the_best_of_a_table_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    outcomes = {"unsteered": [0] * 20 + [1] * 20, "a": [1] * 40, "b": [1] * 38 + [0, 0]}
    (best,) = best_sets(compare([made_run.write(tmp_path / "run", "made", outcomes)]))
    assert (best.label, list(best.level), list(best.behind)) == ("a", ["b"], ["unsteered"])
    two = [made_run.write(tmp_path / task, task, outcomes) for task in ("one", "two")]
    (overall,) = best_sets(compare(two))
    assert str(overall) == "The best on all tables is a (100 %); cannot be told from it: b."
    alone = {"unsteered": [0] * 20, "a": [1] * 20}
    (best,) = best_sets(compare([made_run.write(tmp_path / "alone", "made", alone)]))
    assert str(best) == "The best on made flow is a (100 %); the tests tell every other one from it."
    assert not best_sets(compare([made_run.write(tmp_path / "single", "made", {"unsteered": [1]})]))
