"""Learning curves from made-up folders: which runs are one, what is pooled, and what the page says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sim_eval.analysis.curves import compare_curves, read_curves
from sim_eval.commands import cli
from sim_eval.foundation.errors import RunError
from sim_eval.report import learning_curves


def write(folder: Path, points: Mapping[int, Sequence[int]], sampler: str = "qpilots_u", **options: Any) -> Path:
    """A folder of sim-eval learn; `points`: outcomes of the episodes by environment steps."""
    folder.mkdir()
    stored = {"task": {"name": "can"}, "policy": "flow", "sampler": {sampler: {"strength": 1}}, "evaluate": 100}
    (folder / "options.json").write_text(json.dumps({**stored, "seed": 0, **options}))
    curve = [{"steps": steps, "outcomes": list(map(bool, won)), "mean_q": 0.0} for steps, won in points.items()]
    (folder / "curve.json").write_text(json.dumps(curve))
    return folder


def test_seeds_are_pooled_at_the_evaluations_that_all_have(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {0: [0, 1], 110: [1, 1], 230: [1, 1]})
    second = write(tmp_path / "b", {0: [0, 0], 130: [0, 1]}, seed=1)
    (curve,) = read_curves([first, second])
    assert curve.seeds == (0, 1)
    assert curve.label == "qpilots_u"
    assert [(point.steps, point.successes, point.episodes) for point in curve.points] == [(0, 1, 4), (120, 3, 4)]


def test_the_end_of_a_run_is_an_evaluation_of_its_own(tmp_path: Path) -> None:
    short = write(tmp_path / "a", {0: [0, 0], 110: [0, 0], 154: [1, 1]})
    (curve,) = read_curves([short])
    assert [(point.steps, point.rate) for point in curve.points] == [(0, 0.0), (110, 0.0), (154, 1.0)]
    (curve,) = read_curves([short, write(tmp_path / "b", {0: [0, 0], 130: [1, 1], 210: [1, 1]}, seed=1)])
    assert [point.steps for point in curve.points] == [0, 120]
    assert curve.left_out == 2
    assert (
        "(2 seeds, 4 episodes); 2 evaluations are left out, for not every seed has them."
        in (learning_curves.sentences([curve])[0])
    )


def test_samplers_are_paired_after_as_many_steps(tmp_path: Path) -> None:
    often = write(tmp_path / "a", {0: [0], 55: [0], 102: [1], 151: [0], 210: [1]}, evaluate=50)
    seldom = write(tmp_path / "b", {0: [0], 130: [0]}, sampler="best_of_n")
    (pairing,) = compare_curves(read_curves([often, seldom]))
    assert (pairing.won, pairing.lost) == (1, 0), "after 102 and 130 steps"


def test_other_weights_or_options_of_the_task_are_not_paired(tmp_path: Path) -> None:
    steered = write(tmp_path / "a", {0: [1]}, fingerprints={"policy": "x"})
    for name, options in (("b", {"fingerprints": {"policy": "y"}}), ("c", {"task": {"name": "can", "stepping": "s"}})):
        other = write(tmp_path / name, {0: [0]}, sampler="best_of_n", **options)
        assert compare_curves(read_curves([steered, other])) == []


def test_episodes_of_one_start_are_one_cluster(tmp_path: Path) -> None:
    """LIBERO publishes starts: the eval block of every seed has the same ones."""
    for task, clusters in (("libero_goal", 2), ("can", 4)):
        runs = [
            write(tmp_path / f"{task}{sampler}{seed}", {0: won}, sampler, task={"name": task}, seed=seed)
            for sampler, won in (("qpilots_u", [1, 1]), ("best_of_n", [0, 1]))
            for seed in (0, 1)
        ]
        (pairing,) = compare_curves(read_curves(runs))
        assert (pairing.pairs, sum(cluster.count for cluster in pairing.clusters)) == (4, clusters)


def test_the_frozen_policy_is_a_line_that_every_evaluation_is_paired_with(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        folder = write(tmp_path / name, {0: [0, 0, 1], 110: [1, 1, seed]}, seed=seed)
        curve = json.loads((folder / "curve.json").read_text())
        curve[0]["unsteered"] = [False, bool(seed), True]
        (folder / "curve.json").write_text(json.dumps(curve))
    curves = read_curves([tmp_path / "a", tmp_path / "b"])
    frozen = curves[-1]
    assert (frozen.label, frozen.frozen, frozen.seeds) == ("unsteered", True, (0, 1))
    assert [(point.steps, point.successes) for point in frozen.points] == [(0, 3), (110, 3)]
    (pairing,) = compare_curves(curves)
    assert (pairing.label, pairing.against, pairing.won, pairing.lost) == ("qpilots_u", "unsteered", 3, 1)
    text = learning_curves.html(curves)
    assert "Dashed: the frozen policy" in text
    assert "can, flow, unsteered: 50 % [19 to 81] in the same episodes (2 seeds, 6 episodes)." in text
    assert text.count("<td>any</td>") == 1
    never = write(tmp_path / "c", {0: [0, 0, 0]}, sampler="unsteered")
    assert [curve.frozen for curve in read_curves([tmp_path / "a", never])] == [False, False]


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, {0: [0]}) for name in "ab")
    with pytest.raises(RunError, match="have the same options and seed 0; accepted: one of them"):
        read_curves([first, second])


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / name).mkdir()
    folders = [write(tmp_path / name / "s0", {0: [0]}, heads=heads) for heads, name in enumerate("xy", 1)]
    assert [curve.label for curve in read_curves(folders)] == ["x/s0/qpilots_u", "y/s0/qpilots_u"]


def test_other_options_are_another_curve(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {0: [0, 1]})
    second = write(tmp_path / "b", {0: [0, 1]}, heads=3)
    third = write(tmp_path / "c", {0: [0, 1]}, sampler="best_of_n")
    assert [curve.label for curve in read_curves([first, second, third])] == [
        "a/qpilots_u",
        "b/qpilots_u",
        "best_of_n",
    ]


def test_samplers_are_paired_by_task_seed_and_episode_at_the_last_evaluation_of_both(tmp_path: Path) -> None:
    steered = [
        write(tmp_path / "a", {0: [0, 0, 0], 100: [1, 1, 0], 200: [0, 0, 0]}),
        write(tmp_path / "b", {0: [0, 0, 0], 100: [1, 1, 1]}, task={"name": "lift"}),
        write(tmp_path / "c", {100: [1, 1, 1]}, task={"name": "lift"}, seed=1),
    ]
    unsteered = [
        write(tmp_path / "d", {0: [0, 0, 0], 100: [1, 0, 1]}, sampler="unsteered"),
        write(tmp_path / "e", {0: [0, 0, 0], 100: [0, 0, 0]}, sampler="unsteered", task={"name": "lift"}),
    ]
    (pairing,) = compare_curves(read_curves([*steered, *unsteered]))
    assert (pairing.label, pairing.against, pairing.pairs) == ("qpilots_u", "unsteered", 6)
    assert (pairing.both, pairing.won, pairing.lost) == (1, 4, 1)
    assert pairing.difference == pytest.approx(0.5), "the mean of 0 on can and 1 on lift"
    said = learning_curves.sentences(read_curves([*steered, *unsteered]))[-1]
    assert "qpilots_u against unsteered at the last evaluation of both: +50 [" in said
    assert "4 of 6 pairs won and 1 lost" in said
    assert compare_curves(read_curves(steered)) == []
    (at_first,) = compare_curves(read_curves([*steered, *unsteered]), first=True)
    assert (at_first.pairs, at_first.won, at_first.lost) == (6, 3, 0)


def test_tasks_of_one_suite_are_told_apart(tmp_path: Path) -> None:
    runs = [
        write(tmp_path / f"{sampler}{index}", {0: [1, index > 30]}, sampler, task={"name": "libero_90", "index": index})
        for sampler in ("qpilots_u", "best_of_n")
        for index in (26, 31)
    ]
    curves = read_curves(runs)
    assert [(curve.task, curve.label) for curve in curves] == [
        ("libero_90_26", "qpilots_u"),
        ("libero_90_31", "qpilots_u"),
        ("libero_90_26", "best_of_n"),
        ("libero_90_31", "best_of_n"),
    ]
    (pairing,) = compare_curves(curves)
    assert (pairing.pairs, pairing.both, pairing.won, pairing.lost) == (4, 3, 0, 0)


def test_the_page_shows_every_curve(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / "a", {0: [0] * 10, 100: [1] * 9 + [0]}),
        write(tmp_path / "b", {0: [0] * 10, 100: [1] * 5 + [0] * 5}, sampler="best_of_n"),
        write(tmp_path / "c", {0: [0] * 10}, task={"name": "<lift>"}),
    ]
    page = learning_curves.html(read_curves(folders))
    assert "can, flow, qpilots_u: 0 % at the start, 90 % [60 to 98] after 100 environment steps" in page
    assert page.count('class="plot"') == 2
    assert "At the last evaluation of both" in page
    assert "<td>4 / 0</td>" in page, "pairs won and lost after 100 steps"
    assert "&lt;lift&gt;" in page
    assert "<lift>" not in page


def test_compare_writes_the_page_for_learned_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "a", {0: [0] * 10, 100: [1] * 10})
    monkeypatch.setattr("sys.argv", ["sim-eval", "compare", str(folder), f"output={tmp_path}/out"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert "100 %" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no options\.json; accepted: folders of sim-eval learn"):
        read_curves([write(tmp_path / "a", {0: [0]}), tmp_path])


def write_together(folder: Path, won: Mapping[str, Sequence[int]], seed: int = 0, **options: Any) -> Path:
    """A folder of tasks that learned together; `won`: success at the start and at the end, by task number."""
    folder.mkdir()
    names = [f"ogbench_scene_{index}" for index in won]
    (folder / "together.json").write_text(json.dumps({"tasks": names}))
    for name, (index, (start, end)) in zip(names, won.items(), strict=True):
        task = {"name": "ogbench", "env": "scene", "index": int(index), "sparse": True}
        write(folder / name, {0: [start, 0], 120: [end, 0]}, task=task, together=names, seed=seed, **options)
    return folder


def test_tasks_that_learned_together_have_their_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_together(tmp_path / "a", {"1": [0, 1], "3": [0, 0]})
    second = write_together(tmp_path / "b", {"1": [1, 1], "3": [0, 1]}, seed=1)
    other = write_together(tmp_path / "c", {"1": [0, 0], "3": [0, 0]}, sampler="best_of_n")
    assert cli.run(["compare", str(first), str(second), str(other), f"output={tmp_path}"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told[:6]] == [
        *(f"ogbench_scene_{index}, flow, qpilots_u" for index in (1, 3)),
        *(f"ogbench_scene_{index}, flow, best_of_n" for index in (1, 3)),
        *(f"mean of 2 tasks, flow, {sampler}" for sampler in ("qpilots_u", "best_of_n")),
    ]
    assert "13 % at the start, 38 % " in told[4]
    assert "(2 seeds, 8 episodes)" in told[4]
    curves = read_curves([folder for parent in (first, other) for folder in sorted(parent.glob("ogbench*"))])
    pairings = compare_curves(curves)
    assert [pairing.pairs for pairing in pairings] == [4], "no episode counts twice"
    assert "mean of 2 tasks" in learning_curves.html(curves)


def test_two_folders_of_the_same_tasks_have_two_means(tmp_path: Path) -> None:
    wide = write_together(tmp_path / "wide", {"1": [0, 1], "3": [0, 0]}, width=256)
    deep = write_together(tmp_path / "deep", {"1": [0, 1], "3": [0, 1]}, depth=4)
    curves = read_curves([folder for parent in (wide, deep) for folder in sorted(parent.glob("ogbench*"))])
    means = {curve.label: curve.points[-1].rate for curve in curves if curve.is_mean}
    assert means == {"wide/qpilots_u": 0.25, "deep/qpilots_u": 0.5}


def test_some_of_the_tasks_alone_have_no_mean(tmp_path: Path) -> None:
    folder = write_together(tmp_path / "a", {"1": [0, 1], "3": [0, 0]})
    assert [curve.task for curve in read_curves([folder / "ogbench_scene_1"])] == ["ogbench_scene_1"]
