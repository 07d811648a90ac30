"""The commands: messages, exit codes, help."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sim_eval.evaluation.evaluate
import sim_eval.evaluation.suite
import sim_eval.models.build
import sim_eval.training.online
import tasks
import tasks.osc
from sim_eval.commands import cli
from sim_eval.config.components import TARGETS
from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.foundation.errors import RunError
from sim_eval.models.checkpoints import CheckpointError
from sim_eval.runs.records import RECORDS, read
from sim_eval.runs.run_folder import load_config
from tests.commands import ALL_TASKS, QUICK, Call


def test_a_run_from_the_command_line(call: Call) -> None:
    status, out, err = call("evaluate", *QUICK, "output=run")
    assert (status, err) == (0, ""), "silent progress where there is no terminal"
    assert "task=can policy=flow" in out
    assert "best_of_n" in out
    assert len(read(Path("run"))) == 6
    stored = load_config(Path("run"))
    assert stored is not None
    assert stored["sampler"]["best_of_n"] == {"_target_": "sim_eval.samplers.BestOfN", "n": 8, "steps": 10}
    assert (Path("run") / "report.md").exists()
    status, out, _ = call("compare", "run")
    assert status == 0
    assert "won/lost" in out


def test_a_report_goes_where_it_is_asked_to(evaluated: Call) -> None:
    assert (Path("run") / "report.html").exists()
    status, out, _ = evaluated("compare", "run", "output=new/report")
    assert (status, out.splitlines()[-1]) == (0, "new/report/report.html")
    assert sorted(path.name for path in Path("new/report").iterdir()) == ["report.html", "report.md", "summary.json"]
    for arguments, told in [
        (["run", "out=x"], "unknown option out; accepted: output, "),
        (["run", "output="], "output is empty; accepted: a path"),
        (["output=new"], "there is no run to compare; accepted: sim-eval compare RUN [RUN ...] [output=DIR]"),
        (["run", "output=run/records.jsonl"], "output is run/records.jsonl, which is a file; accepted: a folder"),
    ]:
        status, _, err = evaluated("compare", *arguments)
        assert (status, told in err) == (2, True), err


def test_a_users_error_is_one_line_and_status_2(call: Call) -> None:
    status, out, err = call("evaluate", "task=cam")
    assert (status, out) == (2, "")
    assert err == f"sim-eval: error: task is cam; accepted: {ALL_TASKS}, {TARGETS} (did you mean can?)\n"
    assert not list(Path.cwd().iterdir()), "nothing is left behind"
    call("evaluate", *QUICK, "output=run")
    status, _, err = call("evaluate", *QUICK, "output=run", "seed=4")
    assert status == 2
    told = "seed is 0 there, 4 asked. Accepted: the same options, output=OTHER, or run deleted"
    assert err.endswith(f"belongs to another configuration: {told}\n")


def test_a_checkpoints_error_is_a_users_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_models(*arguments: Any) -> None:
        raise CheckpointError("flow.safetensors is truncated")

    monkeypatch.setattr(sim_eval.models.build, "build_models", build_models)
    assert call("evaluate", *QUICK, "output=run")[2] == "sim-eval: error: flow.safetensors is truncated\n"
    assert not Path("run").exists()


def test_a_defect_keeps_its_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_models(*arguments: Any) -> None:
        raise ValueError("shapes do not match")

    monkeypatch.setattr(sim_eval.models.build, "build_models", build_models)
    monkeypatch.setattr(sys, "argv", ["sim-eval", "evaluate", *QUICK])
    with pytest.raises(ValueError, match="shapes do not match"):
        cli.main()


def test_nothing_comparable_is_an_error(call: Call) -> None:
    call("evaluate", "samplers=[unsteered]", "episodes=2", "workers=0", "output=run")
    status, _, err = call("compare", "run")
    assert status == 2
    assert "nothing is comparable" in err


def test_the_version_is_told(call: Call) -> None:
    assert call("evaluate", "--version")[:2] == (0, f"sim-eval {importlib.metadata.version('sim-eval')}\n")


def test_an_interruption_while_modules_load_is_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command imports before it guards itself takes no time."""
    program = "import sys; before = set(sys.modules); import sim_eval.commands.cli; print(*set(sys.modules) - before)"
    root = Path(sim_eval.__file__).parent.parent
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert not {"numpy", "torch", "hydra", "tasks", "mujoco"} & set(answer.stdout.split())

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sim_eval.evaluation.suite, "given", interrupted)
    assert call("evaluate")[0] == 130


def test_a_first_run_says_on_a_terminal_that_it_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks.osc, "is_compiled", lambda: False)
    tell_of_compiling({"name": "can", "stepping": "fast"})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell_of_compiling({"name": "can", "stepping": "stock"})
    assert capsys.readouterr().err == ""
    tell_of_compiling({"name": "can", "stepping": "fast"})
    assert capsys.readouterr().err == "compiling the control step, once: about a minute\n"


def test_a_finished_run_does_not_say_that_it_compiles(evaluated: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.osc, "is_compiled", lambda: False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for asked, told in (([], False), (["episodes=4"], True)):
        status, _, err = evaluated("evaluate", *QUICK, "output=run", *asked)
        assert (status, "compiling" in err, "starting" in err) == (0, told, told), err


def test_a_start_that_fails_leaves_no_folder(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **named: Any) -> None:
        raise RunError("no cluster answers")

    monkeypatch.setattr(sim_eval.evaluation.evaluate, "open_engine", fails)
    monkeypatch.setattr(sim_eval.training.online, "open_engine", fails)
    here = Path(__file__).parent
    toy = [f"task={here}/toy_task.py:ToyTask", f"policy={here}/toy_models.py:ToyDenoiser", "workers=0"]
    for command in (["evaluate", *QUICK], ["evaluate", *QUICK, "task=can,lift"], ["learn", *toy]):
        for output in ([], ["output=a/b/run"]):
            status, _, err = call(*command, *output)
            assert (status, err) == (2, "sim-eval: error: no cluster answers\n")
            assert not list(Path.cwd().iterdir())
    Path("mine").mkdir()  # by the user, who may want it
    Path("a").mkdir()
    for name in ("mine", "a/run"):
        call("evaluate", *QUICK, f"output={name}")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a", "mine"]
    assert not list(Path("a").iterdir())


def test_a_folders_name_is_taken_as_it_stands(call: Call) -> None:
    for given, made in (
        ("output=2026_06_14", "2026_06_14"),
        ("output=a b=c", "a b=c"),
        ("output=${x}", "${x}"),
        ("output='it''s'", "it''s"),
    ):
        assert call("evaluate", "samplers=[unsteered]", "episodes=1", "workers=0", given)[0] == 0
        assert (Path(made) / RECORDS).is_file()


def test_a_reader_that_wants_no_more_is_no_error() -> None:
    program = f"{sys.executable} -c 'from sim_eval.commands.cli import main; main()' evaluate --help | true"
    answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert answer.stderr == ""


def test_edited_code_of_a_users_task_is_another_task(call: Call) -> None:
    """The start hash cannot see what `step` does."""
    here = Path(__file__).parent
    Path("mine.py").write_text((here / "toy_task.py").read_text())
    options = ["task=./mine.py:ToyTask", f"policy={here}/toy_models.py:ToyDenoiser", "critic=none"]
    options += ["samplers=[unsteered]", "workers=0", "output=run"]
    assert call("evaluate", *options, "episodes=1")[0] == 0
    Path("mine.py").write_text(Path("mine.py").read_text().replace("0.1 * action", "0.05 * action"))
    status, _, err = call("evaluate", *options, "episodes=2")
    assert (status, "output=run was made with another task: its hash is" in err) == (2, True)
