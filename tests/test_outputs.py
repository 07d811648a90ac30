"""No command writes over what it reads, or over what a run, a learner or a probe keeps; nothing ends in a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim_eval.analysis.curves import CURVE
from sim_eval.commands.cli import COMMANDS
from sim_eval.probing.options import PAGE, PROBE
from sim_eval.runs.outputs import _KINDS
from sim_eval.samplers.sampler import ACTORS
from tests.commands import Call

HERE = Path(__file__).parent
TOY = [f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser", "workers=0"]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "run", "format=csv", "output=run/records.jsonl"], "records.jsonl is a part of"),
        (["export", "run", "format=csv", "output=run/config.yaml"], "config.yaml is a part of"),
        (["export", "run", "format=parquet", "output=run/actions/x"], "actions is a part of"),
        (["export", "run", "format=csv", "output=other/records.jsonl"], "records.jsonl is a part of"),
        (["export", "run", "format=csv", "output=run/report.html"], "report.html is a part of"),
        (["export", "link", "format=csv", "output=link/records.jsonl"], "records.jsonl is a part of"),
        (["export", "eval_info.json", "format=csv", "output=eval_info.json"], "is read; accepted: a place of its own"),
        (["export", "eval_info.json", "format=csv", "output=hard.json"], "is read; accepted: a place of its own"),
        (["export", "run", "format=csv", "output=run"], "output is run, which is read; accepted: a place of its own"),
        (["export", "run", "format=csv", "output=other"], "output is other, which is a folder; accepted: a file"),
        (["compare", "run", "output=run/actions"], "actions is a part of"),
        (["compare", "run", "output=other"], "the folder of a run that is not compared"),
        (["compare", "summary.json"], "summary.json is read; accepted: a place of its own"),
        (["compare", "run", "output=eval_info.json"], "output is eval_info.json, which is a file; accepted: a folder"),
        (["render", "run", "output=run/actions/new"], "actions is a part of"),
        (["render", "run", "output=run/config.yaml"], "which is a file; accepted: a folder"),
        (["evaluate", "output=run/actions/x"], "actions is a part of"),
        (["evaluate", "output=eval_info.json"], "which is a file; accepted: a folder"),
        (["evaluate", "output=eval_info.json/x"], "and eval_info.json is a file; accepted: a folder"),
        (["learn", *TOY, "output=run/observed"], "observed is a part of"),
        (["learn", *TOY, "output=learned/replay"], "replay is a part of"),
        (["probe", "output=run/actions"], "actions is a part of"),
        (["probe", "output=eval_info.json"], "which is a file; accepted: a folder"),
        (["sweep", "output=run/config.yaml"], "config.yaml is a part of"),
        (["sweep", "output=learned/strengths.yaml"], "strengths.yaml is a part of"),
        (["sweep", "results=run/actions"], "actions is a part of"),
        (["sweep", "results=eval_info.json"], "which is a file; accepted: a folder"),
        (["train", "task=can", "data=eval_info.json"], "data is eval_info.json, which is a file; accepted: a folder"),
        (["train-vla", "checkpoints=eval_info.json"], "checkpoints is eval_info.json, which is a file"),
    ],
)
def test_what_is_read_or_kept_is_never_written_over(evaluated: Call, arguments: list[str], told: str) -> None:
    here = Path.cwd()
    os.symlink("run", "link")
    Path("eval_info.json").write_text((HERE / "interchange" / "lerobot_0.6.1.json").read_text())
    Path("summary.json").write_text(Path("eval_info.json").read_text())
    os.link("eval_info.json", "hard.json")
    for name, files in (("other", ["config.yaml", "records.jsonl"]), ("learned", ["options.json", "curve.json"])):
        Path(name).mkdir()
        for file in files:
            (Path(name) / file).write_text("{}")
    before = content(here)
    status, out, err = evaluated(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert told in err
    assert content(here) == before


def test_exports_beside_a_runs_own_files_are_written(evaluated: Call) -> None:
    for _ in range(2):  # and replaced
        assert evaluated("export", "run", "format=csv", "output=run/table.csv")[0] == 0
    assert evaluated("compare", "run", "output=run")[0] == 0


def test_the_names_that_are_kept_are_those_that_are_written(evaluated: Call) -> None:
    names: dict[str, set[str]] = {}
    for kind in _KINDS:
        names.setdefault(kind.command, set()).update(kind.marks, kind.more)
    written = {path.name for path in Path("run").iterdir() if path.name != ".lock"}
    assert written - {"report.html", "report.md", "summary.json"} <= names["evaluate"]
    assert {CURVE, *(f"{actor}.safetensors" for actor in ACTORS)} <= names["learn"]
    assert {PROBE, PAGE} == names["probe"]


#: Options that are a path, or may be one.
PATHS = [
    *[("evaluate", name) for name in ("output", "checkpoints", "strengths", "critic", "policy", "task", "posterior")],
    *[("compare", "output"), ("render", "output"), ("view", "videos"), ("export", "output"), ("doctor", "checkpoints")],
    *[("list", "checkpoints"), ("train", "data"), ("train", "checkpoints"), ("train", "critic.demos")],
    *[("train-vla", "data"), ("sweep", "output"), ("sweep", "results"), ("learn", "output"), ("probe", "data")],
    *[("probe", "output"), ("serve", "critic"), ("serve", "checkpoints")],
]
FIRST = {"compare": ["run"], "render": ["run"], "view": ["."], "export": ["run", "format=csv"], "train": ["task=can"]}


@pytest.mark.parametrize(("command", "option"), PATHS)
@pytest.mark.parametrize("text", ["a" * 300, "x/" * 2100 + "y", "a\0b", "é" * 150])
def test_a_path_that_no_file_can_have_is_one_line(evaluated: Call, command: str, option: str, text: str) -> None:
    status, out, err = evaluated(command, *FIRST.get(command, []), f"{option}={text}")
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert option in err
    assert "accepted: " in err


ARGUMENTS = ["nonsense", "missing/dir", "empty", "file", "a" * 300, "a=b" * 99, "no\nline"]
BAD = [(command, argument) for command in COMMANDS for argument in ARGUMENTS]
BAD.remove(("view", "empty"))  # a page without runs, which may come


@pytest.mark.parametrize(("command", "argument"), BAD)
def test_a_bad_argument_is_one_line_and_status_2(evaluated: Call, command: str, argument: str) -> None:
    Path("empty").mkdir()
    Path("file").write_text("text")
    more = ["format=csv", "output=new.csv"] if command == "export" else []
    status, out, err = evaluated(command, argument, *more)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert sorted(os.listdir()) == ["empty", "file", "run"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("list", "checkpoints"), ("doctor", "checkpoints"), ("evaluate", "checkpoints"), ("evaluate", "strengths")),
        *(("evaluate", "critic"), ("serve", "critic"), ("sweep", "critic"), ("probe", "critic"), ("probe", "data")),
    ],
)
@pytest.mark.parametrize("place", ["missing", "empty", "file"])
def test_a_place_that_holds_nothing_to_read_is_one_line(evaluated: Call, command: str, option: str, place: str) -> None:
    Path("empty").mkdir()
    Path("file").write_text("[1]")
    more = {"list": ["checkpoints"], "doctor": ["policy=flow"]}.get(command, [])
    status, _, err = evaluated(command, *more, f"{option}={place}")
    assert (status, len(err.splitlines())) == (2, 1), err
    assert place in err or (option, place) == ("data", "file")  # the critic, a toy, is refused first
    assert sorted(os.listdir()) == ["empty", "file", "run"]
