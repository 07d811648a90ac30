"""A design fixed before the runs: what does not fit is refused, what was not kept is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import made_run
from sim_eval.analysis.compare import compare
from sim_eval.commands import compare as compare_command
from sim_eval.config.command_line import read
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.foundation.errors import RunError
from sim_eval.report import comparison as report
from sim_eval.runs.design import Design, read_design
from sim_eval.runs.reader import load_provenance
from tests import toy_run

FIXED: dict[str, Any] = {
    "tasks": ["made"],
    "policy": "flow",
    "samplers": ["unsteered", "qpilots_u"],
    "episodes": 10,
    "seed": 0,
    "correction": "holm",
    "reference": "unsteered",
}
OUTCOMES = {"unsteered": [0] * 10, "qpilots_u": [1] * 10}


def designed(folder: Path, **changes: Any) -> Design:
    path = folder / "design.yaml"
    path.write_text(json.dumps({**FIXED, **changes}))
    return read_design(path)


def made(folder: Path, digest: str | None, outcomes: dict[str, list[int]] = OUTCOMES, **settings: Any) -> Path:
    """A run whose accounts hold this hash."""
    run = made_run.write(folder, "made", outcomes, settings)
    (account,) = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps([account if digest is None else {**account, "design": digest}]))
    return run


def test_a_run_that_keeps_its_design_says_so_everywhere(tmp_path: Path) -> None:
    design = designed(tmp_path)
    comparison = compare([made(tmp_path / "run", design.sha256)], design=design)
    assert comparison.design is not None
    assert comparison.design.kept
    report.write(comparison, tmp_path)
    texts = [report.terminal(comparison, 200), *((tmp_path / f"report.{kind}").read_text() for kind in ("md", "html"))]
    assert all(f"SHA-256 {design.sha256}: kept" in text for text in texts)
    assert json.loads((tmp_path / "summary.json").read_text())["design"]["kept"] is True


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": ["made", "lift"]}, "no run of task lift"),
        ({"tasks": ["lift"]}, "task made is not in it"),
        ({"policy": "flow_weak"}, "policy of run is flow, not flow_weak"),
        ({"samplers": ["unsteered", "qpilots_u", "vgps"]}, "vgps did not run on made"),
        ({"samplers": ["unsteered"]}, "qpilots_u ran on made"),
        ({"episodes": 20}, "qpilots_u has 10 of 20 episodes on made"),
        ({"seed": 3}, "seed of run is 0, not 3"),
    ],
)
def test_each_departure_is_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    design = designed(tmp_path, **changes)
    check = compare([made(tmp_path / "run", design.sha256)], design=design).design
    assert check is not None
    assert told in check.departures
    assert "not kept" in str(check)


def test_another_reference_and_an_early_stop_are_departures(tmp_path: Path) -> None:
    design = designed(tmp_path, reference="qpilots_u")
    run = made(tmp_path / "run", design.sha256)
    check = compare([run], design=design).design
    assert check is not None
    assert check.departures == ["the reference on made is unsteered, not qpilots_u"]
    assert compare([run], reference="qpilots_u", design=design).design.kept  # type: ignore[union-attr]
    design = designed(tmp_path)
    check = compare([made(tmp_path / "other", design.sha256, until="decided")], design=design).design
    assert check is not None
    assert "until of other is decided" in check.departures


def test_what_cannot_be_shown_is_told(tmp_path: Path) -> None:
    design = designed(tmp_path)
    for number, (digest, told) in enumerate([(None, "holds no hash"), ("ab" * 32, f"of another one, {'ab' * 32}")]):
        check = compare([made(tmp_path / f"run{number}", digest)], design=design).design
        assert check is not None
        assert not check.departures
        assert not check.kept
        assert told in str(check)
    late = made(tmp_path / "late", None)
    (first,) = json.loads((late / "provenance.json").read_text())
    (late / "provenance.json").write_text(json.dumps([first, {**first, "design": design.sha256}]))
    check = compare([late], design=design).design
    assert check is not None
    assert check.unshown == ["late began without it"]


def test_an_evaluation_stores_the_hash_before_its_first_record(tmp_path: Path) -> None:
    design = designed(tmp_path, tasks=["toy"], policy="toy", samplers=["unsteered", "best_of_n"])
    run = tmp_path / "run"
    toy_run.run(run, design=design)
    assert [account.get("design") for account in load_provenance(run)] == [design.sha256]
    assert design.sha256 == hashlib.sha256(design.path.read_bytes()).hexdigest()
    assert compare([run], design=design).design.kept  # type: ignore[union-attr]
    toy_run.run(run)  # resumed without it: its first start still shows it
    assert compare([run], design=design).design.kept  # type: ignore[union-attr]


def test_a_run_keeps_a_copy_of_its_design_which_reports_find(tmp_path: Path) -> None:
    design = designed(tmp_path, tasks=["toy"], policy="toy", samplers=["unsteered", "best_of_n"])
    content = design.path.read_bytes()
    run = tmp_path / "run"
    toy_run.run(run, design=design)
    design.path.unlink()
    check = compare([run]).design
    assert check is not None
    assert check.kept
    assert (run / "design.yaml").read_bytes() == content
    toy_run.run(run, design=designed(tmp_path, tasks=["toy", "lift"], policy="toy"))
    assert (run / "design.yaml").read_bytes() == content, "it began with the first"
    assert compare([run, made(tmp_path / "other", None)]).design is None, "the other has none"


def test_a_run_of_some_tasks_is_not_held_to_the_design_unasked(tmp_path: Path) -> None:
    design = designed(tmp_path, tasks=["toy", "lift"], policy="toy", samplers=["unsteered", "best_of_n"])
    toy_run.run(tmp_path / "run", design=design)
    assert compare([tmp_path / "run"]).design is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=lift"], "has no task lift; accepted: can"),
        (["policy=diffusion"], "policy is diffusion; accepted"),
        (["samplers=unsteered"], "samplers is unsteered; accepted"),
        (["episodes=20"], "episodes is 20; accepted"),
        (["seed=1"], "seed is 1; accepted"),
        (["until=decided"], "until is decided; accepted"),
        (["block=tune"], "block is tune; accepted"),
    ],
)
def test_options_that_do_not_fit_the_design_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = designed(tmp_path, tasks=["can"]).path
    fitting = ["task=can", "samplers=qpilots_u,unsteered", "episodes=10", f"design={path}"]
    assert read(EvaluateOptions, fitting).design is not None
    with pytest.raises(RunError, match=message):
        read(EvaluateOptions, [*fitting, *arguments])


def test_a_file_without_a_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "design.yaml"
    path.write_text("tasks: [can]\n")
    with pytest.raises(RunError, match="lacks policy, samplers, episodes, seed, correction, reference; accepted"):
        read_design(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"correction": "bonferroni"}, "correction is bonferroni; accepted: holm"),
        ({"reference": "vgps"}, "reference is vgps; accepted: unsteered, qpilots_u"),
        ({"tasks": []}, r"tasks is \[\]; accepted: one or more names"),
        ({"samplers": ["unsteered", "unsteered"]}, "each once"),
        ({"episodes": "many"}, "episodes is"),
        ({"power": 0.8}, "field is power"),
    ],
)
def test_a_file_that_is_no_design_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        designed(tmp_path, **changes)


def test_compare_takes_a_design(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    design = designed(tmp_path)
    run = made(tmp_path / "run", design.sha256)
    options = read(compare_command.Options, [f"design={design.path}"], sources=(run,))
    assert compare_command.run(options) == 0
    told = " ".join(capsys.readouterr().out.split())  # lines are wrapped, wherever the folder's name ends
    assert "and its hash was in every run's provenance" in told
