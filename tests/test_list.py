"""`sim-eval list`: what there is, from the registry, the cards and LIBERO's files; nothing is built."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
from bddl.parsing import scan_tokens

from sim_eval.commands.list import Options, listed, overview, run
from sim_eval.config.command_line import read
from sim_eval.config.options import Choice
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import resource
from sim_eval.installation.cards import checkpoint_rows, read_cards
from sim_eval.installation.policies import policy_rows
from sim_eval.installation.samplers import sampler_rows
from sim_eval.installation.table import table
from sim_eval.installation.tasks import compressed, suite_rows, task_rows
from tasks.libero_files import instruction_in, task_files
from tasks.libero_suites import PERTURBED_SUITES, SUITES
from tasks.task import TaskError

SHIPPED = resource("checkpoints")


def put(root: Path, place: str, size: int = 1000, **card: Any) -> None:
    """A checkpoint of `size` bytes with this card."""
    path = root / f"{place}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    whole = {"task": path.parent.name, "config": {}, "weights_sha256": place, **card}
    path.with_suffix(".json").write_text(json.dumps(whole))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of checkpoints of every kind."""
    put(tmp_path, "can/flow", 2_500_000, kind="policy", config={"family": "flow"})
    put(tmp_path, "can/critic", kind="critic", config={"method": "iql"})
    put(tmp_path, "can/critic_own", kind="critic", config={"method": "outcome"}, policy_sha256="can/flow")
    put(tmp_path, "can/posterior_flow", kind="posterior", policy_sha256="0123456789")
    put(tmp_path, "can/noise_actor", kind="noise_actor")
    put(tmp_path, "all_tasks/small_vla", kind="policy", demonstrations={"can": {}, "libero_goal_4": {}})
    (tmp_path / "can/broken.safetensors").write_bytes(b"")
    (tmp_path / "can/strange.safetensors").write_bytes(b"")
    (tmp_path / "can/strange.json").write_text('{"kind": 3}')
    return tmp_path


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package that offers a task, a policy and a sampler."""

    def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
        return [importlib.metadata.EntryPoint("theirs", "their_package:Thing", group)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_tasks_with_their_steps_starts_instructions_and_policies(root: Path, others: None) -> None:
    rows = {row.task: row for row in task_rows(read_cards(root))}
    assert rows["can"][1:] == ("400", "", "put the can into its bin\npolicies: flow, small_vla")
    assert rows["libero_goal.0 .. 9"][1:] == (
        "300",
        "50",
        "10 tasks, listed by task=libero_goal\npolicies: small_vla (4)",
    )
    assert rows["libero_90.0 .. 89"].starts == "50"
    assert "their_package:Thing" in rows["theirs"].instruction
    assert list(rows) == [*sorted(list(rows)[:-1]), "theirs"]


def test_the_tasks_of_a_suite_with_their_instructions() -> None:
    rows = suite_rows("libero_goal", {}, read_cards(SHIPPED))
    assert [row.task for row in rows] == [f"libero_goal.{index}" for index in range(10)]
    assert rows[1].instruction == "put the bowl on the stove\npolicies: mini_vla, mini_vla_strong"
    (reworded,) = suite_rows("libero_goal", {"index": 3, "perturbation": "lan"}, [])
    assert reworded == ("libero_goal.3", "300", "50", "slide open the top drawer and place the bowl in it")
    with pytest.raises(TaskError, match=r"index is 10; accepted for libero_goal: 0 to 9"):
        suite_rows("libero_goal", {"index": 10}, [])


def test_robosuites_environments() -> None:
    rows = {row.task: row for row in suite_rows("robosuite", {}, [])}
    assert rows["robosuite_NutAssemblyRound"][1:] == ("400", "", "nut assembly round")


def test_every_instruction_is_the_one_that_liberos_parser_reads() -> None:
    for suite in (*SUITES.values(), *PERTURBED_SUITES.values()):
        for index in range(suite.tasks):
            bddl = task_files(suite, index).bddl
            (parsed,) = (group[1:] for group in scan_tokens(filename=str(bddl))[1:] if group[0] == ":language")
            assert instruction_in(bddl) == " ".join(parsed), bddl


def test_a_file_without_an_instruction_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.bddl").write_text("(define (problem x) ; (:language open it)\n)")
    with pytest.raises(TaskError, match=r"a\.bddl has no instruction"):
        instruction_in(tmp_path / "a.bddl")


def test_policies_with_their_tasks_and_what_adapters_need(root: Path, others: None) -> None:
    rows = {row.policy: row for row in policy_rows(read_cards(root))}
    assert rows["flow"][1:] == ("flow", "can")
    assert rows["small_vla"][1:] == ("mini_vla", "can, libero_goal (4)")
    assert rows["theirs"][1:] == ("other package", "their_package:Thing")
    assert "needs: policy.path=, the extra [lerobot] (" in rows["lerobot"].about
    assert "needs: policy.address=\ntakes: observations, " in rows["openpi"].about
    assert "device" not in rows["lerobot"].about


def test_samplers_with_their_needs_and_fields(others: None) -> None:
    rows = {row.sampler: row.about.split("\n") for row in sampler_rows()}
    assert rows["best_of_n"] == ["Best of N: rejection by the critic, no gradient.", "needs: critic", "n=8, steps=10"]
    assert rows["qpilots_m"][1] == "needs: denoiser, critic, posterior"
    assert rows["qpilots_u"][2].startswith("strength=tuned, scale=exact, jacobian=true")
    assert rows["dsrl"][1] == "needs: denoiser, critic, noise_actor"
    assert rows["unsteered"][1] == "needs: the policy alone"
    assert rows["theirs"] == ["their_package:Thing, of another package; its class says what it needs"]


def test_checkpoints_folder_by_folder(root: Path) -> None:
    rows = [(row.checkpoint.strip(), row.MB, row.what) for row in checkpoint_rows(root)]
    assert [row[0] for row in rows][:3] == ["all_tasks/", "small_vla", "can/"]
    told = {name: what for name, _, what in rows}
    assert ("can/", "2.5", "") in rows
    assert told["flow"] == "policy, flow"
    assert told["critic"] == "critic, iql, for the policies of its folder"
    assert told["critic_own"] == "critic, outcome, for flow"
    assert told["posterior_flow"] == "posterior net for a policy that is not here (01234567)"
    assert told["noise_actor"] == "noise_actor of sim-eval learn"
    assert told["broken"] == "without a card, broken.json"
    assert told["strange"].startswith("strange.json lacks task, config")


def test_a_folder_that_holds_the_checkpoints_itself(root: Path) -> None:
    assert checkpoint_rows(root / "can")[0].checkpoint == "./"


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"checkpoints is .*, which holds no \*\.safetensors; accepted: a folder of"):
        run(read(Options, ["what=checkpoints", f"checkpoints={tmp_path}"]))


@pytest.mark.parametrize("what", ["tasks", "policies", "samplers", "checkpoints", "all"])
def test_tables_fit_a_terminal(what: str) -> None:
    lines = overview(SHIPPED) if what == "all" else listed(what, SHIPPED)
    assert len(lines) > 5
    assert [line for line in lines if len(line) > 80 and str(SHIPPED) not in line] == []


def test_all_is_short_and_names_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Options(what="all", task=None, checkpoints=root)) == 0
    printed = capsys.readouterr().out
    for name in ("libero_spatial", "small_vla", "openpi", "qpilots_u", "8 in 2 folders, 3 MB, in"):
        assert name in " ".join(printed.split())


def test_the_option_task_lists_its_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(read(Options, ["task=libero_goal", "task.index=7"])) == 0
    assert "libero_goal.7    300      50  turn on the stove\n" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"task\.index is x; accepted: a whole number"):
        run(Options(what="tasks", task=Choice("libero_goal", {"index": "x"}), checkpoints=None))
    with pytest.raises(RunError, match=r"task is can, and samplers are listed; accepted with it: list tasks"):
        run(Options(what="samplers", task=Choice("can"), checkpoints=None))


def test_the_last_column_is_wrapped_and_numbers_are_aligned_right() -> None:
    lines = table(("name", "MB", "what"), [("a", "10.5", "one two three four five six"), ("bb", "2", "x\ny")], width=38)
    assert lines == [
        "name    MB  what",
        "a     10.5  one two three four five",
        "            six",
        "bb       2  x",
        "            y",
    ]


def test_tasks_of_a_suite_are_told_together() -> None:
    assert (
        compressed(["libero_goal_10", "can", "libero_goal_2", "libero_10"]) == "can, libero_10 (0), libero_goal (2, 10)"
    )
