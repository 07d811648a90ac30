"""Several tasks in one evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sim_eval.commands.cli import read_command
from sim_eval.config.components import Component
from sim_eval.config.options import Choice, Text
from sim_eval.evaluation.suite import Suite, tasks_of
from sim_eval.foundation.errors import RunError
from sim_eval.models import build
from sim_eval.models.build import LoadedPolicies, build_models
from sim_eval.runs.records import RECORDS, read
from tests.commands import QUICK, Call
from tests.toy_models import ToyDenoiser

BOTH = ["task=lift,can", *QUICK]


def named(task: str, index: str | None = None) -> list[tuple[str, object]]:
    options = {} if index is None else {"index": Text(index)}
    return [(choice.value, choice.options.get("index")) for choice in tasks_of(Choice(task, options))]


def test_tasks_are_named_in_a_list_or_together() -> None:
    assert named("can") == [("can", None)]
    assert [name for name, _ in named("lift,can")] == ["lift", "can"]
    six = ["lift", "can", "square", "libero_spatial", "libero_object", "libero_goal"]
    assert [name for name, _ in named("six")] == six


def test_indices_of_a_suite_are_ranges_or_all() -> None:
    assert named("libero_goal", "all") == [("libero_goal", index) for index in range(10)]
    assert len(named("libero_90", "all")) == 90
    assert [index for _, index in named("libero_goal", "0-2,7,1")] == [0, 1, 2, 7]
    assert named("libero_goal", "3") == [("libero_goal", "3")], "one is read as ever"
    for text in ("7-3", "10", "0-10", "a", "1,,2", "-1"):
        if not text.isdecimal():
            with pytest.raises(RunError, match=f"task.index is {text}; accepted for libero_goal: all, or numbers"):
                named("libero_goal", text)


def test_a_suite_has_a_folder_a_task_one_table_and_the_mean(call: Call) -> None:
    status, out, err = call("evaluate", *BOTH, "output=both")
    assert (status, err) == (0, "")
    assert [len(read(Path("both") / task)) for task in ("lift", "can")] == [6, 6]
    assert "task=lift policy=flow" in out
    assert "task=can policy=flow" in out
    assert "mean" in out
    assert (Path("both") / "report.html").is_file()
    assert call("evaluate", "task=lift", *QUICK, "output=alone")[0] == 0
    alone, together = (read(Path(folder)) for folder in ("alone", "both/lift"))
    assert [(r.sampler, r.episode, r.success, r.q) for r in alone] == [
        (r.sampler, r.episode, r.success, r.q) for r in together
    ]


def test_a_suite_goes_on_where_it_was_stopped(call: Call) -> None:
    call("evaluate", *BOTH, "output=both")
    whole = {task: (Path("both") / task / RECORDS).read_bytes() for task in ("lift", "can")}
    shutil.rmtree("both/can")
    kept = whole["lift"].splitlines(keepends=True)[:4]
    (Path("both/lift") / RECORDS).write_bytes(b"".join(kept))
    assert call("evaluate", *BOTH, "output=both")[0] == 0
    for task in ("lift", "can"):
        records = read(Path("both") / task)
        assert sorted((r.sampler, r.episode) for r in records) == sorted(
            (name, episode) for name in ("unsteered", "best_of_n") for episode in range(3)
        )


def test_what_cannot_be_a_suite_is_named(call: Call) -> None:
    call("evaluate", *QUICK, "output=run")
    status, _, err = call("evaluate", *BOTH, "output=run")
    assert (status, "output=run is the folder of one run; accepted for several tasks: another folder" in err) == (
        2,
        True,
    )
    status, _, err = call("evaluate", "task=can,lift,can", *QUICK, "output=new")
    assert (status, "task names can twice" in err) == (2, True)
    status, _, err = call("evaluate", "task=can,cam", *QUICK, "output=new")
    assert (status, "task is cam; accepted: lift, can" in err) == (2, True)
    assert not Path("new").exists()


def test_videos_of_a_suites_tasks_do_not_meet() -> None:
    suite = read_command("evaluate", [*BOTH, "output=runs/both"])
    assert isinstance(suite, Suite)
    assert {(run.suite, run.output.name) for run in suite.runs} == {("both", "lift"), ("both", "can")}


def test_a_policy_for_every_task_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def policy(task: str, component: Component, *place: object) -> tuple[ToyDenoiser, dict[str, str]]:
        made.append((task, component.label))
        return ToyDenoiser(), {"policy": component.label}

    monkeypatch.setattr(build, "_policy", policy)
    loaded: LoadedPolicies = {}
    for label in ("mini_vla", "flow"):
        for task in ("lift", "can"):
            build_models(task, Component(label), None, Component("default"), frozenset(), loaded=loaded)
    assert made == [("lift", "mini_vla"), ("lift", "flow"), ("can", "flow")]
