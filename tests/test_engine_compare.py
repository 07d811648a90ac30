"""Comparisons: pairs are checked, and whatever is left out is told."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim_eval.analysis.compare import Row, compare
from sim_eval.errors import RunError
from sim_eval.runs.records import Record, read
from tests import made_run, toy_run
from tests.toy_task import ToyTask


@pytest.fixture
def run(tmp_path: Path) -> Path:
    toy_run.run(tmp_path / "run")
    return tmp_path / "run"


def change(folder: Path, edit: Callable[[Record], Record]) -> None:
    made_run.rewrite(folder, [edit(one) for one in read(folder)])


def rows(*folders: Path) -> dict[str, Row]:
    (table,) = compare(folders).tables
    return {row.label: row for row in table.rows}


def test_figures_of_a_run(run: Path) -> None:
    def edit(one: Record) -> Record:
        success = one.episode < (3 if one.sampler == "unsteered" else 8)
        cost = dataclasses.replace(one.cost, decision_ms=float(one.episode))
        return dataclasses.replace(one, success=success, cost=cost)

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
    assert not best.pairing.survives
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


def test_errors_are_no_failures_and_told(tmp_path: Path) -> None:
    broken = functools.partial(ToyTask, crash="step", crash_in=(3,))
    toy_run.run(tmp_path, make_task=broken)
    assert rows(tmp_path)["best_of_n"].n == 9
    told = "\n".join(compare([tmp_path]).warnings)
    assert "toy best_of_n: 1 episodes ended in an error (3): RuntimeError: the toy broke" in told


def test_samplers_of_two_runs_are_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    toy_run.run(one, samplers=("unsteered",), sampler={"unsteered": {"n": 1}})
    toy_run.run(two, samplers=("best_of_n",), sampler={"best_of_n": {"n": 3}}, episodes=6)
    pairing = rows(one, two)["best_of_n"].pairing
    assert pairing is not None
    assert (pairing.against, pairing.pairs) == ("unsteered", 6)
    assert "toy best_of_n against unsteered: 6 pairs of 6 and 10 episodes" in compare([one, two]).warnings


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
    told = "toy best_of_n against unsteered: not compared, for they ran other keys: no episode key in common"
    assert told in comparison.warnings


def test_unequal_versions_are_told(run: Path) -> None:
    path = run / "provenance.json"
    (account,) = json.loads(path.read_text())
    old = {**account, "versions": {**account["versions"], "mujoco": "2.0"}}
    path.write_text(json.dumps([old, account]))
    current = account["versions"]["mujoco"]
    assert compare([run]).warnings == [f"version of mujoco differs: 2.0 in run; {current} in run"]


def test_runs_on_other_simulators_are_not_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    toy_run.run(one, samplers=("unsteered",), sampler={"unsteered": {"n": 1}})
    toy_run.run(two, samplers=("best_of_n",), sampler={"best_of_n": {"n": 3}})
    (account,) = json.loads((two / "provenance.json").read_text())
    current = account["versions"]["mujoco"]
    account["versions"]["mujoco"] = "3.9"
    (two / "provenance.json").write_text(json.dumps([account]))
    comparison = compare([one, two])
    assert not comparison.compared
    told = f"not compared, for these are different tasks: mujoco 3.9 in two, {current} in one"
    assert f"toy best_of_n against unsteered: {told}" in comparison.warnings


@pytest.mark.parametrize("block", ["tune", "train"])
def test_episodes_of_another_block_are_told(tmp_path: Path, block: str) -> None:
    toy_run.run(tmp_path / "run", episodes=1, block=block)
    (told,) = compare([tmp_path / "run"]).warnings
    assert told.startswith(f"run: its episodes are of block {block}, ")
    assert ("strengths were tuned on the keys reported here" in told) == (block == "tune")


def test_runs_in_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    toy_run.run(tmp_path / "a" / "run")
    toy_run.run(tmp_path / "b" / "run")
    assert set(rows(tmp_path / "a" / "run", tmp_path / "b" / "run")) == {
        f"{folder}/run/{sampler}" for folder in "ab" for sampler in ("unsteered", "best_of_n")
    }


def test_the_correction_is_over_every_pair_of_every_table(tmp_path: Path) -> None:
    """By hand: 3 pairs a task; the rescues per task give p = 2 / 2^10, 2 / 2^6 and 2 / 2^4."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        made_run.write(folder, folder.name, {"unsteered": [0] * 10, "a": [1] * 10, "b": [1] * 6 + [0] * 4})
    comparison = compare(folders)
    assert comparison.comparisons == 6
    for table in comparison.tables:
        assert [pairing.p for pairing in table.every_pair] == pytest.approx([2 / 2**10, 2 / 2**6, 2 / 2**4])
        # Sorted: twice 2/2^10 (times 6, times 5), twice 2/2^6 (4, 3), twice 2/2^4 (2, 1).
        assert [pairing.p_holm for pairing in table.every_pair] == pytest.approx([12 / 2**10, 8 / 2**6, 4 / 2**4])
        assert [row.pairing.survives for row in table.rows if row.pairing] == [True, False]
    overall = {one.label: one for one in comparison.overall}
    assert (overall["b"].rate, overall["b"].difference, overall["b"].episodes) == (0.6, 0.6, 20)
    assert overall["unsteered"].difference is None


def test_the_same_sampler_with_other_noise_seldom_differs(tmp_path: Path) -> None:
    """A/A: the report of four equal samplers marks a difference in at most 5 of 100 studies."""
    generator, marked = np.random.default_rng(0), 0
    for study in range(100):
        difficulty = generator.beta(1, 1, 60)  # starts differ, the samplers' noise is their own
        names = ["unsteered", "again", "and_again", "once_more"]
        folder = made_run.write(
            tmp_path / str(study), "aa", {name: (generator.random(60) < difficulty).tolist() for name in names}
        )
        (table,) = compare([folder]).tables
        marked += any(pairing.survives for pairing in table.every_pair)
    assert marked <= 5


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder"):
        compare([tmp_path / "nothing"])
    with pytest.raises(RunError, match="not a run folder"):
        compare([tmp_path])
