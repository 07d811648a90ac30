"""Other harnesses' result files: read as unpaired runs, written so that they read back, refused where damaged."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import sim_eval
from benchmarks import made_run
from sim_eval.analysis.compare import Comparison, compare
from sim_eval.commands.cli import read_command
from sim_eval.commands.export import exported
from sim_eval.foundation.errors import RunError
from sim_eval.report import comparison as report
from sim_eval.report.headline import headline
from sim_eval.runs.foreign import Described, group_and_index, name_of
from sim_eval.runs.records import read
from sim_eval.runs.source import read_results, read_sources

FIXTURES = Path(__file__).parent / "interchange"
LEROBOT = FIXTURES / "lerobot_0.4.4.json"
VLA_EVAL = FIXTURES / "vla_eval_0.8.0.json"
HALF, MOST = [0, 1] * 20, [1] * 36 + [0] * 4
TWO = {"unsteered": HALF, "qpilots_u": MOST}


def successes(path: Path) -> dict[str, list[bool]]:
    """By task, without the episodes that ended in an error."""
    tasks = read_results(path).tasks
    return {task: [ep.success for ep in episodes if ep.error is None] for task, episodes in tasks.items()}


def beside_own(tmp_path: Path, *files: Path) -> Comparison:
    """A run of libero_goal with the flow policy, and files of the same policy."""
    run = made_run.write(tmp_path / "run", "libero_goal", TWO)
    return compare([run, *files], Described("flow"))


def written(tmp_path: Path, *options: str) -> Path:
    """The file that `sim-eval export` writes."""
    path = tmp_path / "written"
    exported(read_command("export", [*options, f"output={path}"]))
    return path


@pytest.mark.parametrize("name", ["lerobot_0.4.4.json", "lerobot_0.6.1.json"])
def test_lerobots_file_is_read_by_task(name: str) -> None:
    assert successes(FIXTURES / name) == {
        "libero_goal": [True, False, True, True],
        "libero_goal_7": [True] * 4,
        "libero_10_3": [False, False, True, False],
    }


def test_vla_evals_file_is_read_by_suite_and_index_and_its_crashes_are_errors() -> None:
    results = read_results(VLA_EVAL)
    assert successes(VLA_EVAL) == {
        "libero_goal": [True, False, True, True],
        "libero_goal_7": [True, True, False, True, True],
    }
    crashed = results.tasks["libero_goal"][4]
    assert crashed.error == "connection_closed: code=1011 reason=keepalive"
    assert results.tasks["libero_goal"][2].steps == 100
    (note,) = results.notes
    assert note.startswith("1 of 10 episodes ended in an error; vla-eval counts them as failures")


def test_tasks_of_one_instruction_are_told_apart_and_unknown_ones_keep_their_names(tmp_path: Path) -> None:
    content = json.loads(VLA_EVAL.read_text())
    entry = content["tasks"][1]
    for episode, index in zip(entry["episodes"], (7, 7, 8, 8, 8), strict=True):
        episode["task_id"] = index
    content["tasks"][0]["episodes"] = [{**ep, "suite": "mine"} for ep in content["tasks"][0]["episodes"]]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    assert {task: len(episodes) for task, episodes in read_results(path).tasks.items()} == {
        "open the middle drawer of the cabinet": 5,
        "libero_goal_7": 2,
        "libero_goal_8": 3,
    }


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("libero_goal", ("libero_goal", 0)),
        ("libero_goal_7", ("libero_goal", 7)),
        ("libero_10", ("libero_10", 0)),
        ("libero_90_12", ("libero_90", 12)),
        ("libero_goal_swap_3", ("libero_goal_swap", 3)),
        ("can", ("can", 0)),
        ("my_task_2", ("my_task_2", 0)),
    ],
)
def test_names_of_tasks_go_both_ways(task: str, parts: tuple[str, int]) -> None:
    assert group_and_index(task) == parts
    assert name_of(*parts) == task


def test_counts_stand_in_for_episodes(tmp_path: Path) -> None:
    lerobot, vla_eval = json.loads(LEROBOT.read_text()), json.loads(VLA_EVAL.read_text())
    del lerobot["per_task"]
    for entry in vla_eval["tasks"]:
        entry["episodes"] = []
    for number, content in enumerate((lerobot, vla_eval)):
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    assert {task: (sum(won), len(won)) for task, won in successes(tmp_path / "0.json").items()} == {
        "libero_goal": (7, 8),
        "libero_10": (1, 4),
    }
    assert [sum(won) for won in successes(tmp_path / "1.json").values()] == [3, 4]


def test_a_files_row_is_shown_unpaired_and_the_rest_does_not_change(tmp_path: Path) -> None:
    comparison, alone = beside_own(tmp_path, LEROBOT, VLA_EVAL), beside_own(tmp_path)
    table, *others = comparison.tables
    assert [row.label for row in table.rows[2:]] == [
        "unsteered (lerobot_0.4.4.json)",
        "unsteered (vla_eval_0.8.0.json)",
    ]
    assert [(row.successes, row.n, len(row.failed)) for row in table.rows[2:]] == [(3, 4, 0), (3, 4, 1)]
    assert all(row.unpaired and row.interval and row.pairing is None and row.ms is None for row in table.rows[2:])
    assert (table.rows[2].steps, table.rows[3].steps) == (None, 147.5)
    assert table.rows[:2] == alone.tables[0].rows
    assert table.every_pair == alone.tables[0].every_pair
    assert {other.task for other in others} == {"libero_goal_7", "libero_10_3"}
    assert all(other.unpaired for other in others)
    assert headline(comparison) == headline(alone)
    assert (comparison.overall, comparison.pooled) == (alone.overall, alone.pooled)
    told = "lerobot_0.4.4.json: unpaired: LeRobot stores no hash of an episode's start"
    assert len([warning for warning in comparison.warnings if warning.startswith(told)]) == 1
    assert not any("is compared" in warning or "differs" in warning for warning in comparison.warnings)


def test_every_report_marks_what_is_unpaired(tmp_path: Path) -> None:
    comparison = beside_own(tmp_path, LEROBOT)
    report.write(comparison, tmp_path / "out")
    assert re.search(r"unsteered \(lerobot_0.4.4.json\) .* unpaired", report.terminal(comparison, 200))
    assert "| unpaired |" in (tmp_path / "out/report.md").read_text()
    page = (tmp_path / "out/report.html").read_text()
    assert page.count(">unpaired</td>") == 3
    assert page.count(">reference</td>") == 1
    rows = json.loads((tmp_path / "out/summary.json").read_text())["tables"][0]["rows"]
    assert [row.get("unpaired", False) for row in rows] == [False, False, True]
    (data,) = re.findall(r'<script id="data"[^>]*>(.*?)</script>', page)
    assert json.loads(data)["samplers"] == ["unsteered", "qpilots_u"], "starts are of this suite's own episodes"


def test_a_file_alone_has_a_report_and_no_winner(tmp_path: Path) -> None:
    comparison = compare([LEROBOT])
    (said,) = headline(comparison)
    assert said.startswith("Other harnesses ran all of these episodes")
    assert {table.policy for table in comparison.tables} == {"unknown"}
    report.write(comparison, tmp_path)


def test_the_api_takes_files_too(tmp_path: Path) -> None:
    run = made_run.write(tmp_path / "run", "libero_goal", TWO)
    comparison = sim_eval.compare(run, LEROBOT, policy="flow", sampler="edit")
    assert [row.label for row in comparison.tables[0].rows] == [*TWO, "edit (lerobot_0.4.4.json)"]
    assert (run / "report.html").is_file()
    with pytest.raises(RunError, match="sampler is"):
        sim_eval.compare(run, LEROBOT, sampler="")


def test_policy_and_sampler_of_a_file_are_the_users_to_say(tmp_path: Path) -> None:
    settings = read_command("compare", [str(LEROBOT), "policy=smolvla", "sampler=best_of_n"])
    assert (settings.output, settings.figures) == (FIXTURES, False)
    comparison = compare(settings.sources, settings.described)
    assert comparison.tables[0].name == "libero_goal smolvla"
    assert comparison.tables[0].rows[0].label == "best_of_n (lerobot_0.4.4.json)"
    for argument, told in [
        ("policy=a/b", 'policy is "a/b"; accepted: letters'),
        ("sampler=[a]", "sampler is"),
        ("figures=1", "figures is 1; accepted: true or false"),
    ]:
        with pytest.raises(RunError, match=re.escape(told)):
            read_command("compare", [str(LEROBOT), argument])


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> & $x_1$ |"
    path = tmp_path / "<i>.json"
    path.write_text(LEROBOT.read_text().replace("libero_10", evil))
    comparison = beside_own(tmp_path, path)
    assert any(table.task.startswith(evil) for table in comparison.tables)
    report.write(comparison, tmp_path / "out")
    assert "<script>alert" not in (tmp_path / "out/report.html").read_text()
    assert "(<i>.json)" not in (tmp_path / "out/report.html").read_text()
    text = re.sub("`.*?`", "", (tmp_path / "out/report.md").read_text())  # code spans show it as it is
    assert "<script>alert" not in text
    for file in report.write_figures(comparison, tmp_path / "out"):
        ElementTree.parse(file)
    latex = written(tmp_path, str(path), "format=latex").read_text()
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} \& \$x\_1\$ \textbar{}" in latex


def changed(where: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of a file's content at a path such as "tasks.0.task"."""

    def edit(content: Any) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in where.split(".")]
        for step in steps:
            content = content[step]
        content[last] = value

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "told"),
    [
        (LEROBOT, changed("per_task", {}), "per_task is {}; accepted: a list of a mapping"),
        (LEROBOT, changed("per_task.1", 3), "accepted: a list of a mapping"),
        (LEROBOT, changed("per_task.1.task_id", -1), "per_task 1: task_id is -1; accepted: a whole number"),
        (
            LEROBOT,
            changed("per_task.1.task_group", "a\nb"),
            'per_task 1: task_group is "a\\nb"; accepted: one printable',
        ),
        (LEROBOT, changed("per_task.1.task_group", "a" * 300), "accepted: one printable line of 1 to 200"),
        (LEROBOT, changed("per_task.1.metrics", {}), "per_task 1 lacks successes"),
        (
            LEROBOT,
            changed("per_task.1.metrics.successes.2", 0.5),
            "per_task 1 episode 2: success is 0.5; accepted: true",
        ),
        (LEROBOT, changed("per_task.1.metrics.successes.2", "yes"), 'success is "yes"'),
        (
            LEROBOT,
            changed("per_group.libero_goal.pc_success", 120),
            "per_group libero_goal is 120; accepted: a number from 0",
        ),
        (LEROBOT, changed("per_group.libero_goal.pc_success", 50.0), "is 50.0, but 7 of 8 episodes succeed"),
        (LEROBOT, changed("per_group", []), "per_group is []; accepted: a mapping"),
        (LEROBOT, changed("per_task", []), "holds no episode of LeRobot"),
        (VLA_EVAL, changed("tasks.0.task", None), "task is null; accepted: text"),
        (VLA_EVAL, changed("tasks.0.episodes.1.metrics", {}), "episode 1 lacks success"),
        (VLA_EVAL, changed("tasks.0.episodes.1.steps", -4), "episode 1: steps is -4"),
        (VLA_EVAL, changed("tasks.0.episodes.1.elapsed_sec", 10**400), "accepted: a finite number of 64 bits"),
        (VLA_EVAL, changed("tasks.0.episodes.1.failure_reason", ["x"]), "failure_reason is"),
        (VLA_EVAL, changed("tasks.0.mean_success", 1.2), "mean_success is 1.2; accepted: a number from 0 to 1"),
        (
            VLA_EVAL,
            changed("tasks.0", {"task": "a", "num_episodes": 10**9, "mean_success": 1}),
            "num_episodes is 1000000000",
        ),
        (VLA_EVAL, changed("tasks.0", {"task": "a", "num_episodes": 10, "mean_success": 0.55}), "but 6 of 10 episodes"),
        (
            VLA_EVAL,
            changed("tasks.0", {"task": "a", "num_episodes": 10, "mean_success": 5}),
            "accepted: a number from 0 to 1",
        ),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, file: Path, edit: Callable[..., None], told: str) -> None:
    content = json.loads(file.read_text())
    edit(content)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RunError) as error:
        compare([path])
    assert told in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            LEROBOT.read_bytes()[:900],
            "disk is damaged; accepted: LeRobot's eval_info.json, or a result file of vla-eval",
        ),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[1]", "holds a list; accepted"),
        (b'{"\\u001b[31m": 1}', "holds '\ufffd[31m'; accepted"),
        (b'{"benchmark": "x", "tasks": []}', "holds no episode of vla-eval"),
    ],
)
def test_files_of_other_programs_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "eval_info.json"
    path.write_bytes(content)
    with pytest.raises(RunError) as error:
        compare([path])
    assert told in str(error.value)


def test_a_files_name_must_be_printable(tmp_path: Path) -> None:
    path = tmp_path / "a\x0b.json"
    path.write_bytes(LEROBOT.read_bytes())
    with pytest.raises(RunError, match="the file's name is"):
        compare([path])


@pytest.mark.parametrize("kind", ["lerobot", "vla_eval"])
@pytest.mark.parametrize("task", ["libero_goal_7", "libero_10", "can"])
def test_what_is_written_reads_back(tmp_path: Path, kind: str, task: str) -> None:
    runs = [made_run.write(tmp_path / name, name, TWO) for name in (task, "other")]
    path = written(tmp_path, *map(str, runs), f"format={kind}", "sampler=qpilots_u")
    assert successes(path) == {task: list(map(bool, MOST)), "other": list(map(bool, MOST))}


def test_written_files_have_the_harnesses_fields(tmp_path: Path) -> None:
    run = made_run.write(tmp_path / "run", "libero_goal", {"unsteered": HALF})
    theirs, ours = (
        json.loads(LEROBOT.read_text()),
        json.loads(written(tmp_path, str(run), "format=lerobot").read_text()),
    )
    for part in (lambda info: info, lambda info: info["per_task"][0], lambda info: info["per_task"][0]["metrics"]):
        assert part(ours).keys() == part(theirs).keys()
    assert ours["overall"].keys() == theirs["overall"].keys()
    assert ours["per_group"]["libero_goal"].keys() == theirs["per_group"]["libero_goal"].keys()
    theirs, ours = (
        json.loads(VLA_EVAL.read_text()),
        json.loads(written(tmp_path, str(run), "format=vla_eval").read_text()),
    )
    assert theirs.keys() - ours.keys() == {"eval_id", "server_info", "num_errors"}
    assert ours["tasks"][0].keys() == theirs["tasks"][1].keys()
    assert theirs["tasks"][1]["episodes"][0].keys() - ours["tasks"][0]["episodes"][0].keys() == {
        *("sid", "eid", "name", "episode_idx", "task_idx")
    }


def test_errors_are_written_as_each_harness_has_them(tmp_path: Path) -> None:
    run = made_run.write(tmp_path / "run", "can", {"unsteered": [1, 1, 0, 1]})
    first, *rest = read(run)
    made_run.rewrite(run, [dataclasses.replace(first, error="boom"), *rest])
    written(tmp_path, str(run), "format=vla_eval")
    content = json.loads((tmp_path / "written").read_text())
    assert (content["mean_success"], content["num_errors"]) == (0.5, 1)
    assert content["tasks"][0]["episodes"][0]["failure_detail"] == "boom"
    assert successes(tmp_path / "written") == {"can": [True, False, True]}
    told = exported(read_command("export", [str(run), "format=lerobot", f"output={tmp_path / 'written'}"]))
    assert told == ["1 episodes that ended in an error are left out: LeRobot's format has no place for them"]
    assert successes(tmp_path / "written") == {"can": [True, False, True]}


def test_a_file_is_converted_into_the_other_harnesses(tmp_path: Path) -> None:
    assert successes(written(tmp_path, str(LEROBOT), "format=vla_eval")) == successes(LEROBOT)


def test_runs_that_are_no_one_policys_or_samplers_are_not_written(tmp_path: Path) -> None:
    run = made_run.write(tmp_path / "run", "can", TWO)
    other = made_run.write(tmp_path / "other", "lift", TWO, {"policy": "diffusion"})
    for arguments, told in [
        ([str(run)], "sampler is null; accepted: one of can flow's: unsteered, qpilots_u"),
        ([str(run), "sampler=qpilot"], "sampler is qpilot; accepted: one of can flow's"),
        ([str(run), str(other), "sampler=unsteered"], "the policies flow, diffusion; accepted: runs of one policy"),
    ]:
        with pytest.raises(RunError, match=re.escape(told)):
            written(tmp_path, *arguments, "format=lerobot")


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / name / "eval_info.json" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(LEROBOT.read_bytes())
    names = [run.foreign for run in read_sources([*files, files[0]], Described())]
    assert names == ["a/eval_info.json"] * 3 + ["b/eval_info.json"] * 3
