"""Comparisons: pairs are checked, and whatever is left out is told."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import made_run
from sim_eval.analysis.compare import compare, compare_runs
from sim_eval.analysis.rows import Row
from sim_eval.foundation.errors import RunError
from sim_eval.runs.reader import read_run, records_frame
from sim_eval.runs.records import Record, read
from tests import toy_run
from tests.toy_task import ToyTask

TWO = {"unsteered": [0, 1] * 5, "a": [1] * 10}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run.write(tmp_path / "run", "made", TWO)


def written_apart(folder: Path, **settings: Any) -> list[Path]:
    """A run of unsteered and a run of another sampler, the second with these settings."""
    return [
        made_run.write(folder / "one", "made", {"unsteered": [0] * 10}),
        made_run.write(folder / "two", "made", {"a": [1] * 6}, settings),
    ]


def change(folder: Path, edit: Callable[[Record], Record]) -> None:
    made_run.rewrite(folder, [edit(record) for record in read(folder)])


def rows(*folders: Path) -> dict[str, Row]:
    (table,) = compare(folders).tables
    return {row.label: row for row in table.rows}


def test_figures_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    toy_run.run(run)

    def edit(record: Record) -> Record:
        success = record.episode < (3 if record.sampler == "unsteered" else 8)
        cost = dataclasses.replace(record.cost, decision_ms=float(record.episode))
        return dataclasses.replace(record, success=success, cost=cost)

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
    def edit(record: Record) -> Record:
        moved = record.sampler == "a" and record.episode in (2, 7)
        return dataclasses.replace(record, state_hash="moved") if moved else record

    change(run, edit)
    pairing = rows(run)["a"].pairing
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
    runs = written_apart(tmp_path)
    pairing = rows(*runs)["a"].pairing
    assert pairing is not None
    assert (pairing.against, pairing.pairs) == ("unsteered", 6)
    assert "made a against unsteered: 6 pairs of 6 and 10 episodes" in compare(runs).warnings


def test_the_same_run_twice_counts_once(tmp_path: Path) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    for run in runs:
        made_run.write(run, "made", {"unsteered": [0, 1, 0], "a": [1, 1, 1 if run == runs[0] else 0]})
    table = rows(*runs)
    assert {label: row.n for label, row in table.items()} == {"unsteered": 3, "a": 3}
    told = compare(runs).warnings
    assert "made unsteered in two: 3 episodes are in one as well; each counts once" in told
    assert "made a in two: 3 episodes are in one as well; each counts once, although 1 ended differently" in told


def test_seeds_of_the_same_thing_are_pooled(tmp_path: Path) -> None:
    half, most = [0, 1] * 10, [1] * 18 + [0] * 2
    runs = [
        made_run.write(tmp_path / f"seed{seed}", "made", {"unsteered": half, "a": most}, {"seed": seed})
        for seed in (0, 1)
    ]
    comparison = compare(runs)
    (table,) = comparison.tables
    assert [(row.label, row.n, row.successes) for row in table.rows] == [("unsteered", 40, 20), ("a", 40, 36)]
    pairing = table.row("a").pairing
    assert pairing is not None
    assert (pairing.pairs, pairing.both, pairing.won, pairing.lost) == (40, 18, 18, 2)
    assert comparison.warnings == []


def test_a_sampler_with_other_strengths_has_a_row_for_each(tmp_path: Path) -> None:
    runs = [
        made_run.write(
            tmp_path / f"run{strength}",
            "made",
            {"unsteered": [0, 1], "a": [1, 1]},
            {"sampler": {"unsteered": {}, "a": {"strength": strength}}},
        )
        for strength in (0.5, 1.0)
    ]
    assert list(rows(*runs)) == ["unsteered", "a at 0.5", "a at 1"]


def test_a_sampler_with_other_options_is_named_after_them(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / name, "made", {"unsteered": [0, 1], "a": [1, 1]}, {"sampler": options})
        for name, options in {
            "few": {"unsteered": {}, "a": {"n": 2}},
            "many": {"unsteered": {}, "a": {"n": 9}},
        }.items()
    ]
    assert list(rows(*runs)) == ["unsteered", "a n=2", "a n=9"]
    assert "made flow: sampler.a.n differs: 2 in few's a; 9 in many's a" in compare(runs).warnings


def test_an_option_that_came_later_is_told_where_only_one_run_has_it(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / name, "made", {"a": [1, 1]}, {"sampler": {"a": options}})
        for name, options in {"old": {}, "new": {"keep_best": True}}.items()
    ]
    assert "made flow: sampler.a.keep_best differs: False in old's a; True in new's a" in compare(runs).warnings


def test_two_policies_of_one_name_are_not_paired(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / name, "made", {sampler: [0, 1]}, checkpoints={"policy": digest})
        for name, sampler, digest in (("one", "unsteered", "11112222333"), ("two", "a", "44445555666"))
    ]
    comparison = compare(runs, by="sampler")
    assert [table.name for table in comparison.tables] == ["made flow (11112222)", "made flow (44445555)"]
    assert not comparison.compared
    told = "made: 2 different policies are called flow; they are not compared with each other: "
    assert f"{told}flow (11112222) in one; flow (44445555) in two" in comparison.warnings


def test_policies_of_the_same_weights_but_another_configuration_are_named_after_their_runs(tmp_path: Path) -> None:
    runs = [
        made_run.write(
            tmp_path / name, "made", {"unsteered": [0, 1]}, checkpoints={"policy": "1", "policy config": name}
        )
        for name in ("eight", "four")
    ]
    assert [table.policy for table in compare(runs, by="sampler").tables] == ["flow (eight)", "flow (four)"]


def test_records_as_a_table(tmp_path: Path) -> None:
    runs = [
        read_run(made_run.write(tmp_path / f"seed{seed}", "made", {"unsteered": [0, 1]}, {"seed": seed}))
        for seed in (0, 1)
    ]
    frame = records_frame(runs)
    assert frame.groupby("run")["success"].mean().to_dict() == {"seed0": 0.5, "seed1": 0.5}
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert frame["policy_rows"].tolist() == [10] * 4
    assert "cost" not in frame
    assert records_frame([]).empty


def test_other_seeds_are_not_compared(tmp_path: Path) -> None:
    comparison = compare(written_apart(tmp_path, seed=1))
    assert not comparison.compared
    told = "made a against unsteered: not compared: they have no episode key in common"
    assert told in comparison.warnings


def test_unequal_versions_are_told(run: Path) -> None:
    path = run / "provenance.json"
    (account,) = json.loads(path.read_text())
    old = {**account, "versions": {**account["versions"], "mujoco": "2.0"}}
    path.write_text(json.dumps([old, account]))
    current = account["versions"]["mujoco"]
    assert compare([run]).warnings == [f"version of mujoco differs: 2.0 in run; {current} in run"]


def test_runs_on_other_simulators_are_not_compared(tmp_path: Path) -> None:
    first, second = written_apart(tmp_path)
    (account,) = json.loads((second / "provenance.json").read_text())
    current = account["versions"]["mujoco"]
    account["versions"]["mujoco"] = "3.9"
    (second / "provenance.json").write_text(json.dumps([account]))
    comparison = compare([first, second])
    assert not comparison.compared
    told = f"not compared, for these are different tasks: mujoco 3.9 in two, {current} in one"
    assert f"made a against unsteered: {told}" in comparison.warnings


@pytest.mark.parametrize("block", ["tune", "train"])
def test_episodes_of_another_block_are_told(tmp_path: Path, block: str) -> None:
    (told,) = compare([made_run.write(tmp_path / "run", "made", TWO, {"block": block})]).warnings
    assert told.startswith(f"run: its episodes are of block {block}, ")
    assert ("strengths were tuned on the keys reported here" in told) == (block == "tune")


def test_runs_in_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made_run.write(tmp_path / name / "run", "made", {"unsteered": [0]}, execute=ord(name))
    assert set(rows(tmp_path / "a" / "run", tmp_path / "b" / "run")) == {"unsteered (a/run)", "unsteered (b/run)"}


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
    overall = {mean.label: mean for mean in comparison.overall}
    assert (overall["b"].rate, overall["b"].difference, overall["b"].episodes) == (0.6, 0.6, 20)
    assert overall["unsteered"].difference is None


def test_tables_are_also_tested_together(tmp_path: Path) -> None:
    """By hand: a beats unsteered 10 to 0 twice, p = 2 / 2^20; b rescues 6 of 10 twice; of both, a wins 4 twice."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        made_run.write(folder, folder.name, {"unsteered": [0] * 10, "a": [1] * 10, "b": [1] * 6 + [0] * 4})
    pooled = {(pairing.label, pairing.against): pairing for pairing in compare(folders).pooled}
    assert list(pooled) == [("unsteered", "a"), ("unsteered", "b"), ("a", "b")]
    assert [(pairing.won, pairing.lost) for pairing in pooled.values()] == [(0, 20), (0, 12), (8, 0)]
    assert [pairing.p for pairing in pooled.values()] == pytest.approx([2 / 2**20, 2 / 2**12, 2 / 2**8])
    assert [pairing.p_holm for pairing in pooled.values()] == pytest.approx([6 / 2**20, 4 / 2**12, 2 / 2**8])
    assert pooled["a", "b"].difference == pytest.approx(0.4)
    assert pooled["a", "b"].pairs == 20


def test_samplers_that_a_table_lacks_are_not_tested_together(tmp_path: Path) -> None:
    made_run.write(tmp_path / "one", "one", {"unsteered": [0] * 10, "a": [1] * 10, "b": [1] * 10})
    made_run.write(tmp_path / "two", "two", {"unsteered": [0] * 10, "b": [1] * 10})
    assert [(pair.label, pair.against) for pair in compare([tmp_path / "one", tmp_path / "two"]).pooled] == [
        ("unsteered", "b")
    ]
    assert compare([tmp_path / "one"]).pooled == []


def test_the_same_sampler_with_other_noise_seldom_differs(tmp_path: Path) -> None:
    """A/A: the report of four equal samplers marks a difference in at most 5 of 100 studies."""
    generator, marked = np.random.default_rng(0), 0
    names = ["unsteered", "again", "and_again", "once_more"]
    run = read_run(made_run.write(tmp_path, "aa", dict.fromkeys(names, [0] * 60)))
    for _ in range(100):
        difficulty = generator.beta(1, 1, 60)  # starts differ, the samplers' noise is their own
        outcomes = np.concatenate([generator.random(60) < difficulty for _ in names])
        records = [
            dataclasses.replace(record, success=bool(success))
            for record, success in zip(run.records, outcomes, strict=True)
        ]
        (table,) = compare_runs([dataclasses.replace(run, records=records)]).tables
        marked += any(pairing.survives for pairing in table.every_pair)
    assert marked <= 5


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder"):
        compare([tmp_path / "nothing"])
    with pytest.raises(RunError, match="not a run folder"):
        compare([tmp_path])
