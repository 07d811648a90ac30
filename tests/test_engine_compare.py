"""Comparisons: pairs are checked, and whatever is left out is told."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sim_eval.compare import Row, compare
from sim_eval.errors import RunError
from sim_eval.records import Record, Writer, read
from sim_eval.report import terminal, write
from tests import toy_run
from tests.toy_task import ToyTask


@pytest.fixture
def run(tmp_path: Path) -> Path:
    toy_run.run(tmp_path / "run")
    return tmp_path / "run"


def change(folder: Path, edit: Callable[[Record], Record]) -> None:
    Writer(folder).rewrite([edit(one) for one in read(folder)])


def rows(*folders: Path) -> dict[str, Row]:
    (table,) = compare(folders).tables
    return {row.label: row for row in table.rows}


def test_figures_of_a_run(run: Path) -> None:
    def edit(one: Record) -> Record:
        success = one.episode < (3 if one.sampler == "unsteered" else 8)
        return dataclasses.replace(one, success=success, decision_ms=float(one.episode))

    change(run, edit)
    table = rows(run)
    unsteered, best = table["unsteered"], table["best_of_n"]
    assert (unsteered.n, unsteered.successes, best.successes) == (10, 3, 8)
    assert (unsteered.policy_rows, best.policy_rows, best.critic_rows) == (4, 12, 3)
    assert best.ms == 4.5
    assert unsteered.pairing is None
    assert best.pairing is not None
    assert (best.pairing.pairs, best.pairing.won, best.pairing.lost) == (10, 5, 0)
    assert best.pairing.p == best.pairing.p_holm == pytest.approx(0.0625)
    assert best.pairing.difference == 0.5
    assert best.pairing.interval[0] < 0.5 < best.pairing.interval[1]
    assert compare([run]).warnings == []


def test_broken_pairs_are_left_out_and_told(run: Path) -> None:
    def edit(one: Record) -> Record:
        moved = one.sampler == "best_of_n" and one.episode in (2, 7)
        return dataclasses.replace(one, state_hash="moved") if moved else one

    change(run, edit)
    pairing = rows(run)["best_of_n"].pairing
    assert pairing is not None
    assert pairing.pairs == 8
    told = compare([run]).warnings
    assert any("pairing is broken" in text and "in 2 episodes (2, 7)" in text for text in told)


def test_stand_in_assets_are_told(run: Path) -> None:
    change(run, lambda one: dataclasses.replace(one, assets="real"))
    assert compare([run]).warnings == []
    change(run, lambda one: dataclasses.replace(one, assets="lite" if one.episode else "real"))
    told = compare([run])
    assert told.warnings == ["toy: ran on lite and real assets; figures on lite are not LIBERO's own"]
    write(told, run)
    assert told.warnings[0] in terminal(told)
    assert told.warnings[0] in (run / "report.md").read_text()


def test_errors_are_no_failures_and_told(tmp_path: Path) -> None:
    broken = functools.partial(ToyTask, crash="step", crash_in=(3,))
    toy_run.run(tmp_path, make_task=broken)
    assert rows(tmp_path)["best_of_n"].n == 9
    told = "\n".join(compare([tmp_path]).warnings)
    assert "best_of_n: 1 episodes ended in an error (3): RuntimeError: the toy broke" in told


def test_samplers_of_two_runs_are_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    toy_run.run(one, samplers=("unsteered",), sampler={"unsteered": {"n": 1}})
    toy_run.run(two, samplers=("best_of_n",), sampler={"best_of_n": {"n": 3}}, episodes=6)
    pairing = rows(one, two)["best_of_n"].pairing
    assert pairing is not None
    assert (pairing.against, pairing.pairs) == ("unsteered", 6)
    assert "best_of_n against unsteered: 6 pairs of 6 and 10 episodes" in compare([one, two]).warnings


def test_equal_samplers_of_two_runs_are_told_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    toy_run.run(one)
    toy_run.run(two, workers=1)
    table = rows(one, two)
    assert set(table) == {"one/unsteered", "one/best_of_n", "two/unsteered", "two/best_of_n"}
    against = table["two/unsteered"].pairing
    assert against is not None
    assert (against.won, against.lost, against.p) == (0, 0, 1.0)


def test_other_seeds_are_not_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    toy_run.run(one, samplers=("unsteered",), sampler={"unsteered": {"n": 1}})
    toy_run.run(two, samplers=("best_of_n",), sampler={"best_of_n": {"n": 3}}, seed=1)
    comparison = compare([one, two])
    assert not comparison.compared
    assert "best_of_n against unsteered: no episode key in common, not compared" in comparison.warnings


def test_unequal_versions_are_told(run: Path) -> None:
    path = run / "provenance.json"
    (account,) = json.loads(path.read_text())
    old = {**account, "versions": {**account["versions"], "mujoco": "2.0"}}
    path.write_text(json.dumps([old, account]))
    current = account["versions"]["mujoco"]
    assert compare([run]).warnings == [f"runs differ in version of mujoco: 2.0, {current}"]


def test_reports(run: Path) -> None:
    comparison = compare([run])
    lines = terminal(comparison).splitlines()
    assert lines[0] == "task=toy policy=toy"
    assert len(lines) == 4
    assert lines[3].split()[:3] == ["best_of_n", "-", "10"]
    write(comparison, run)
    summary = json.loads((run / "summary.json").read_text())
    assert [row["sampler"] for row in summary["tables"][0]["rows"]] == ["unsteered", "best_of_n"]
    assert summary["tables"][0]["rows"][1]["pairing"]["pairs"] == 10
    assert summary["runs"][0]["config"]["episodes"] == 10
    report = (run / "report.md").read_text()
    assert report.count("| best_of_n |") == 2  # the table, and every pair


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder"):
        compare([tmp_path / "nothing"])
    with pytest.raises(RunError, match="not a run folder"):
        compare([tmp_path])
