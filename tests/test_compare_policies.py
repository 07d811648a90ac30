"""Policies, checkpoints and options on the same keys; what labels say; what a script learns."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from benchmarks import made_run
from sim_eval.analysis.compare import Comparison, compare
from sim_eval.analysis.verdict import read_fail_if, verdict
from sim_eval.commands import cli
from sim_eval.foundation.errors import RunError
from sim_eval.report.comparison import terminal, write
from sim_eval.report.headline import headline
from sim_eval.report.tables import csv_table
from sim_eval.runs.records import read
from sim_eval.runs.videos import update_index

HALF, MOST, NONE = [0, 1] * 20, [1] * 36 + [0] * 4, [0] * 40
OPENPI: dict[str, Any] = {"policy": "openpi", "policy_target": "policies.openpi:build"}
TASK = {"name": "made", "stepping": "fast"}
#: The exit status of `sim-eval compare` by its arguments.
Status = Callable[..., int]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Status:
    def call(*arguments: str | Path) -> int:
        monkeypatch.setattr("sys.argv", ["sim-eval", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(str(end.value.code))

    return call


def run(folder: Path, name: str, outcomes: Any = HALF, checkpoint: str = "", **settings: Any) -> Path:
    """A run of unsteered, or of the samplers that `outcomes` names; its policy has this hash, by default its own."""
    samplers = outcomes if isinstance(outcomes, dict) else {"unsteered": outcomes}
    prints = {"policy": checkpoint or settings.get("policy", "flow")}
    return made_run.write(folder / name, "made", samplers, settings, prints)


def two(folder: Path, first: Any = HALF, second: Any = MOST) -> list[Path]:
    return [run(folder, "a", first, policy="flow_weak"), run(folder, "b", second, policy="flow")]


def labels(comparison: Comparison) -> list[str]:
    (table,) = comparison.tables
    return [row.label for row in table.rows]


def test_two_checkpoints_are_tested_as_statsmodels_tests_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(100) < 0.4, generator.random(100) < 0.6
    runs = [
        run(tmp_path, name, list(outcomes), checkpoint=name * 8)
        for name, outcomes in (("1", first), ("2", second))
    ]  # fmt: skip
    (table,) = compare(runs).tables
    pairing = table.row("flow (22222222)").pairing
    assert pairing is not None
    assert (pairing.against, pairing.pairs) == ("flow (11111111)", 100)
    counts = [[sum(first & second), sum(second & ~first)], [sum(first & ~second), sum(~first & ~second)]]
    assert (pairing.won, pairing.lost) == (counts[0][1], counts[1][0])
    assert pairing.p == pytest.approx(float(mcnemar(counts, exact=True).pvalue), rel=1e-12)


def test_policies_are_compared_by_themselves_where_no_samplers_are(tmp_path: Path) -> None:
    runs = two(tmp_path)
    comparison = compare(runs)
    assert comparison.by == "policy"
    assert labels(comparison) == ["flow_weak", "flow"]
    assert headline(comparison)[0] == "flow succeeds most often: 90 % against 50 % for flow_weak."
    assert headline(comparison)[2] == "The gain survives Holm's correction over the one comparison of this report."
    assert [table.name for table in compare(runs, by="sampler").tables] == ["made flow_weak", "made flow"]
    assert not compare(runs, by="sampler").compared


def test_samplers_of_one_policy_are_compared_as_ever(tmp_path: Path) -> None:
    """Each policy has its own table, although the policies ran the same keys."""
    steered = {"unsteered": HALF, "a": MOST}
    runs = [run(tmp_path, name, steered, policy=name) for name in ("flow", "mini_vla")]
    comparison = compare(runs)
    assert comparison.by == "sampler"
    assert [table.name for table in comparison.tables] == ["made flow", "made mini_vla"]
    assert labels(compare(runs, by="policy")) == ["flow", "flow a", "mini_vla", "mini_vla a"]


def test_one_reference_heads_the_table(tmp_path: Path) -> None:
    runs = [*two(tmp_path), run(tmp_path, "c", NONE, policy="diffusion")]
    (table,) = compare(runs).tables
    assert (table.references, table.rows[0].label) == (["flow_weak"], "flow_weak")
    (table,) = compare(runs, reference="diffusion").tables
    assert table.references == ["diffusion"]
    assert [row.label for row in table.rows] == ["diffusion", "flow_weak", "flow"]
    assert [(pair.label, pair.against) for pair in table.every_pair][:2] == [
        ("diffusion", "flow_weak"),
        ("diffusion", "flow"),
    ]
    with pytest.raises(RunError, match=r"^reference is flo; accepted: flow_weak, flow, diffusion \(did you mean flow"):
        compare(runs, reference="flo")
    with pytest.raises(RunError, match=r"^by is task; accepted: sampler, policy$"):
        compare(runs, by="task")


def test_a_reference_of_samplers_may_be_any_row(tmp_path: Path) -> None:
    folder = run(tmp_path, "a", {"unsteered": HALF, "a": MOST, "b": NONE})
    comparison = compare([folder], reference="a")
    assert labels(comparison) == ["a", "unsteered", "b"]
    assert comparison.tables[0].references == ["a"]
    assert headline(comparison)[0].startswith("No sampler succeeds more often than a, 90 %")


def test_runs_that_differ_in_an_option_of_the_task_have_one_reference(tmp_path: Path) -> None:
    weak = run(tmp_path, "weak", NONE, task={**TASK, "gain": 0.6, "instruction": "lift the can"})
    comparison = compare([run(tmp_path, "plain", MOST), weak])
    assert labels(comparison) == ["flow", 'flow task.gain=0.6 task.instruction="lift the can"']
    assert comparison.tables[0].references == ["flow"]
    said = " ".join(headline(comparison))
    assert said.startswith("Nothing succeeds more often than flow, 90 % over 40 episodes of made.")
    assert 'instruction="lift the can" is worse than flow on made.' in said


def test_samplers_are_compared_under_the_same_options_alone(tmp_path: Path) -> None:
    steered = {"unsteered": HALF, "a": MOST}
    runs = [run(tmp_path, "plain", steered), run(tmp_path, "weak", steered, task={**TASK, "gain": 0.6})]
    comparison = compare(runs)
    assert [table.name for table in comparison.tables] == ["made flow", "made task.gain=0.6 flow"]
    assert [table.references for table in comparison.tables] == [["unsteered"]] * 2
    assert comparison.comparisons == 2
    assert "of made and made task.gain=0.6." in headline(comparison)[1]


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"policy_options": {"spread": 0.4}}, "mini_vla policy.spread=0.4"),
        ({"policy_options": {"spread": 0.4, "size": 3}}, "mini_vla policy.spread=0.4 policy.size=3"),
        ({"task": {**TASK, "instruction": "lift it"}}, 'mini_vla task.instruction="lift it"'),
        ({"sampler": {"unsteered": {"steps": 4}}}, None),
    ],
)
def test_a_label_names_the_options_in_which_rows_differ(
    tmp_path: Path, settings: dict[str, Any], label: str | None
) -> None:
    runs = [run(tmp_path, "plain", policy="mini_vla"), run(tmp_path, "changed", MOST, policy="mini_vla", **settings)]
    comparison = compare(runs)
    if label is None:  # another setting of a sampler
        assert labels(comparison) == ["unsteered", "unsteered steps=4"]
        assert labels(compare(runs, by="policy")) == ["mini_vla", "mini_vla unsteered steps=4"]
        assert comparison.tables[0].references == ["unsteered"]
    else:
        assert labels(comparison) == ["mini_vla", label]


def test_options_that_all_rows_share_stand_above_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"task": {**TASK, "gain": 0.6}, "policy": "mini_vla", "policy_options": {"spread": 0.4}}
    comparison = compare([run(tmp_path, "a", {"unsteered": HALF, "a": MOST}, **settings)])
    assert labels(comparison) == ["unsteered", "a"]
    assert terminal(comparison).splitlines()[0] == "task=made task.gain=0.6 policy=mini_vla policy.spread=0.4"
    by_policy = compare([run(tmp_path, name, checkpoint=name * 8, **settings) for name in ("1", "2")])
    assert labels(by_policy) == ["mini_vla (11111111)", "mini_vla (22222222)"]
    assert by_policy.tables[0].name == "made task.gain=0.6 policy.spread=0.4"


def test_the_first_task_of_a_suite_is_told_from_the_suite(tmp_path: Path) -> None:
    task = {"name": "libero_goal", "index": 0, "perturbation": None, "stepping": "fast"}
    folder = made_run.write(tmp_path / "run", "libero_goal", {"unsteered": HALF, "a": MOST}, {"task": task})
    comparison = compare([folder])
    assert comparison.tables[0].name == "libero_goal task.index=0 flow"
    assert "paired episodes of libero_goal task.index=0." in headline(comparison)[1]


def test_checkpoints_of_one_name_are_told_apart_by_their_folders_on_every_task(tmp_path: Path) -> None:
    folders = [None, "mine/epoch 9"]
    runs = [
        made_run.write(
            tmp_path / f"{task}{number}",
            task,
            {"unsteered": outcomes},
            {"checkpoints": folder},
            {"policy": f"{task}{number}"},
        )
        for task in ("one", "two")
        for number, (folder, outcomes) in enumerate(zip(folders, (HALF, MOST), strict=True))
    ]
    comparison = compare(runs)
    assert [[row.label for row in table.rows] for table in comparison.tables] == [
        ["flow", 'flow checkpoints="mine/epoch 9"']
    ] * 2
    assert "against 50 % for flow." in headline(comparison)[0]
    assert "over 80 paired episodes of one and two." in headline(comparison)[1]
    assert [(pooled.label, pooled.won, pooled.lost) for pooled in comparison.pooled] == [("flow", 4, 36)]


def test_the_page_shows_the_videos_of_both_policies(tmp_path: Path) -> None:
    runs = two(tmp_path)
    for folder in runs:
        (folder / "film.mp4").touch()
        update_index(folder, {folder / "film.mp4": (("unsteered", 3),)})
    write(compare(runs), tmp_path)
    assert re.search(r'"a/film.mp4"\],\[[^]]*"b/film.mp4"', (tmp_path / "report.html").read_text())


def test_the_last_resort_is_the_run(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / name, "made", {"unsteered": HALF}, checkpoints={}, execute=execute)
        for name, execute in (("one", 4), ("two", 8))
    ]
    assert labels(compare(runs, by="policy")) == ["flow (one)", "flow (two)"]


def test_a_critic_that_is_not_used_splits_no_row(tmp_path: Path) -> None:
    steered = {"unsteered": HALF, "a": MOST}
    runs = [
        made_run.write(tmp_path / name, "made", steered, {"critic": name}, {"policy": "p", "critic": name})
        for name in ("iql", "sarsa")
    ]
    comparison = compare(runs)
    assert labels(comparison) == ["unsteered", "a critic=iql", "a critic=sarsa"]
    assert comparison.tables[0].references == ["unsteered"]


def test_a_policy_that_its_server_steers_is_not_unsteered(tmp_path: Path) -> None:
    steering = {"sampler": "qpilots_u", "strength": 0.5}
    runs = [
        run(tmp_path, "plain", HALF, "1", **OPENPI, policy_options={"sampler": "unsteered"}),
        run(tmp_path, "steered", MOST, "2", **OPENPI, policy_options=steering),
        run(tmp_path, "more", MOST, "3", **OPENPI, policy_options={**steering, "strength": 2}),
    ]
    comparison = compare(runs)
    assert labels(comparison) == [
        "openpi",
        "openpi qpilots_u (server) at 0.5",
        "openpi qpilots_u (server) at 2",
    ]
    (table,) = compare(runs[1:2]).tables
    assert [row.label for row in table.rows] == ["qpilots_u (server)"]
    assert table.name == "made openpi policy.sampler=qpilots_u policy.strength=0.5"
    assert compare(runs[:0:-1]).tables[0].row("openpi qpilots_u (server) at 2").sampler == "qpilots_u (server)"


def test_other_starts_are_no_pairs(tmp_path: Path) -> None:
    runs = two(tmp_path)
    made_run.rewrite(runs[1], [dataclasses.replace(record, state_hash="moved") for record in read(runs[1])])
    comparison = compare(runs, by="policy")
    assert not comparison.compared
    assert any("made flow against flow_weak: the pairing is broken" in warning for warning in comparison.warnings)
    assert [str(judged) for judged in verdict(comparison).judgements] == [
        "flow is not comparable with flow_weak on made"
    ]
    assert compare(runs).by == "sampler"


def test_every_report_holds_the_policies(tmp_path: Path) -> None:
    comparison = compare(two(tmp_path))
    write(comparison, tmp_path / "out")
    head = terminal(comparison, 200).splitlines()[:4]
    assert (head[0], head[1].split("  ")[0]) == ("task=made", "policy and options")
    assert head[3].split()[:6] == ["flow", "-", "40", "90", "77-96", "18/2"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["by"], summary["tables"][0]["references"]) == ("policy", ["flow_weak"])
    assert [row["policy"] for row in summary["tables"][0]["rows"]] == ["flow_weak", "flow"]
    assert "| flow_weak | flow | 40 | 2/18 |" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Which starts each policy rescues" in page
    assert '<b class="t-rescued">+18</b>' in page
    assert [line.split(",")[:3] for line in csv_table(comparison).splitlines()[1:]] == [
        ["made", "flow_weak", "flow_weak"],
        ["made", "flow", "flow"],
    ]


@pytest.mark.parametrize(
    ("second", "word"), [(MOST, "better"), (NONE, "worse"), ([*HALF[1:], 0], "cannot tell"), (HALF, "cannot tell")]
)
def test_the_verdict_of_each_row(tmp_path: Path, second: list[int], word: str) -> None:
    (judged,) = verdict(compare(two(tmp_path, HALF, second))).judgements
    assert (judged.table, judged.label, judged.against, judged.word) == ("made", "flow", "flow_weak", word)


def test_a_verdict_may_fail_the_command(tmp_path: Path, compared: Status, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [*two(tmp_path, HALF, NONE), f"output={tmp_path / 'out'}"]
    assert compared(*runs) == 0
    assert compared(*runs, "fail_if=better,cannot tell") == 0
    capsys.readouterr()
    assert compared(*runs, "fail_if=worse,cannot tell") == 1
    assert capsys.readouterr().err == "fail_if=worse,cannot tell: flow is worse than flow_weak on made\n"
    assert compared(*runs, "reference=flow", "fail_if=worse") == 0
    assert compared(*runs, "fail_if=worst") == 2
    assert "fail_if is worst; accepted: better, worse, cannot tell, not comparable" in capsys.readouterr().err


def test_words_of_fail_if() -> None:
    assert read_fail_if(None) == ()
    assert read_fail_if("worse, not comparable") == read_fail_if(["worse", "not comparable"])
