"""Records: whole, single and resumable, whatever kills the run."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from sim_eval.config.components import Component
from sim_eval.config.tasks import TaskChoice
from sim_eval.foundation import machine
from sim_eval.foundation.errors import RunError
from sim_eval.runs import records, run_folder
from sim_eval.runs.reader import load_config, load_provenance, read_run
from sim_eval.runs.records import RECORDS, Record, actions_path, read
from sim_eval.samplers.sampler import Models
from tasks.task import Outcome, TaskSpec
from tests import toy_run
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import ToyTask

ROOT = Path(__file__).resolve().parent.parent


def comparable(found: list[Record]) -> list[dict[str, Any]]:
    """Sorted, without the timings."""
    untimed = [
        {**vars(record), "wall_s": 0, "cost": dataclasses.replace(record.cost, decision_ms=None)} for record in found
    ]
    return sorted(untimed, key=lambda values: (values["sampler"], values["episode"]))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return comparable(toy_run.run(tmp_path_factory.mktemp("reference") / "run"))


def test_a_run_stores_every_episode_with_its_actions(tmp_path: Path) -> None:
    found = toy_run.run(tmp_path)
    assert comparable(read(tmp_path)) == comparable(found)
    assert {(record.sampler, record.episode) for record in found} == {
        (sampler, episode) for sampler in toy_run.SAMPLERS for episode in range(10)
    }
    for record in found:
        actions = np.load(actions_path(tmp_path, record.sampler, record.episode))
        assert actions.shape == (record.steps, 2)
        assert actions.dtype == np.float32
    account = load_provenance(tmp_path)
    assert len(account) == 1
    assert account[0]["versions"]["torch"]
    assert account[0]["checkpoints"] == {"policy": "abc"}


@pytest.mark.parametrize(("workers", "batch"), [(1, 8), (2, 1), (2, 8), (0, 1)])
def test_records_do_not_depend_on_workers_or_batch(
    tmp_path: Path, reference: list[dict[str, Any]], workers: int, batch: int
) -> None:
    assert comparable(toy_run.run(tmp_path, workers=workers, batch=batch)) == reference


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_resumes_to_the_same_records(
    tmp_path: Path, reference: list[dict[str, Any]], workers: int
) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.toy_run", str(tmp_path), str(workers), "0.004"], cwd=ROOT)
    while count_lines(tmp_path) < 5 and process.poll() is None:
        time.sleep(0.005)
    workers_of = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers_of):  # workers end with the run
        time.sleep(0.01)
    assert 5 <= count_lines(tmp_path) < 20, "killed in the middle"
    assert comparable(toy_run.run(tmp_path, workers=workers)) == reference
    assert len((tmp_path / RECORDS).read_text().splitlines()) == 20
    assert comparable(read(tmp_path)) == reference


def count_lines(folder: Path) -> int:
    path = folder / RECORDS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_records_hold_the_jerk_of_their_actions_and_are_read_without_it(tmp_path: Path) -> None:
    for record in toy_run.run(tmp_path, episodes=2):
        actions = np.load(actions_path(tmp_path, record.sampler, record.episode)).astype(np.float64)
        assert record.jerk == np.sqrt(np.mean(np.diff(actions[:, :1], n=3, axis=0) ** 2))
    edit_line(tmp_path, jerk=...)
    assert [record.jerk is None for record in read_run(tmp_path).records] == [True, False, False, False]


def test_records_hold_what_a_success_leaves_out_and_are_read_without_it(tmp_path: Path) -> None:
    records = toy_run.run(tmp_path, TwoGoals, episodes=10)
    assert {record.success for record in records} == {True, False}
    for record in records:
        actions = np.load(actions_path(tmp_path, record.sampler, record.episode)).astype(np.float64)
        assert record.action_path == pytest.approx(np.abs(actions[:, 0]).sum())
        assert record.time_to_success == (record.steps / 20 if record.success else None)
        assert record.goals_met == (1.0 if record.success else 0.5)
        assert record.best_goals_met == (1.0 if record.success else 0.75)
    later = ("action_path", "time_to_success", "goals_met", "best_goals_met")
    edit_line(tmp_path, **dict.fromkeys(later, ...))
    assert [getattr(read_run(tmp_path).records[0], name) for name in later] == [None] * 4


def test_a_task_without_predicates_has_no_goals_met(tmp_path: Path) -> None:
    assert {record.goals_met for record in toy_run.run(tmp_path, episodes=2)} == {None}


class TwoGoals(ToyTask):
    """The toy as a task of several predicates, of which most hold in the middle of a failure."""

    spec: ClassVar[TaskSpec] = replace(ToyTask.spec, max_steps=8)

    def step(self, action: np.ndarray) -> Outcome:
        outcome = super().step(action)
        return replace(outcome, goals_met=1.0 if outcome.success else 0.75 if self._steps == 5 else 0.5)


def test_a_torn_last_line_is_dropped_and_its_episode_run_again(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    toy_run.run(tmp_path)
    path = tmp_path / RECORDS
    path.write_bytes(path.read_bytes()[:-40])
    assert len(read(tmp_path)) == 19
    assert comparable(toy_run.run(tmp_path)) == reference
    assert len(path.read_text().splitlines()) == 20


def test_a_bad_line_elsewhere_is_an_error_that_names_it(tmp_path: Path) -> None:
    toy_run.run(tmp_path, episodes=2)
    path = tmp_path / RECORDS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1][:30] + "\n", *lines[2:]]))
    with pytest.raises(RunError, match=f"{RECORDS} line 2 is not JSON"):
        read(tmp_path)
    path.write_text(lines[0] + "[1, 2]\n")
    with pytest.raises(RunError, match=f"{RECORDS} line 2 is no record; accepted: a JSON object"):
        toy_run.run(tmp_path, episodes=2)


def edit_line(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change the first line of the records; a value of `...` deletes its field. The line's content before."""
    path = folder / RECORDS
    first, *others = path.read_text().splitlines(keepends=True)
    before: dict[str, Any] = json.loads(first)
    after = {name: value for name, value in {**before, **changes}.items() if value is not ...}
    path.write_text("".join([json.dumps(after) + "\n", *others]))
    return before


def test_records_of_version_1_are_read(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    toy_run.run(tmp_path)
    path = tmp_path / RECORDS
    old = []
    for stored in map(json.loads, path.read_text().splitlines()):
        del stored["version"]
        old.append({**stored, **stored.pop("cost"), "assets": None, "video": None})
    path.write_text("".join(json.dumps(values) + "\n" for values in old))
    found = read(tmp_path)
    assert found[0].extra == {"assets": None, "video": None}
    assert comparable([dataclasses.replace(record, extra={}) for record in found]) == reference
    assert len(toy_run.run(tmp_path, episodes=11)) == 22, "and the run goes on"


def test_fields_of_other_versions_are_kept(tmp_path: Path) -> None:
    toy_run.run(tmp_path, episodes=1)
    before = edit_line(tmp_path, version=3, robot="ur5e", cost={**_cost(tmp_path), "joules": 2.5})
    record = read(tmp_path)[0]
    assert record.extra == {"robot": "ur5e"}
    assert record.cost.extra == {"joules": 2.5}
    written = json.loads(records.to_line(record))
    assert written == {**before, "robot": "ur5e", "cost": {**before["cost"], "joules": 2.5}}


def _cost(folder: Path) -> dict[str, Any]:
    cost: dict[str, Any] = json.loads((folder / RECORDS).read_text().splitlines()[0])["cost"]
    return cost


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "many"}, 'line 1: steps is "many"; accepted: a whole number of at least 0'),
        ({"success": 1}, "line 1: success is 1; accepted: true or false"),
        ({"episode": -1}, "line 1: episode is -1; accepted: a whole number of at least 0"),
        ({"strength": []}, r"line 1: strength is \[\]; accepted: a number or null"),
        ({"q": [1.0, None]}, r"line 1: q is \[1.0, null\]; accepted: a list of a number or null"),
        ({"mean_q": float("nan")}, "line 1: mean_q is NaN; accepted: a finite number of 64 bits"),
        ({"version": "two"}, 'line 1: version is "two"; accepted: a whole number'),
        (
            {"cost": {"policy_rows": 3}},
            "line 1: cost is no cost of version 2: .* lacks critic_rows, posterior",
        ),
        (
            {"version": 3, "steps": ..., "length": 40},
            "line 1 is no record of version 2: it is of version 3, lacks steps and has length besides",
        ),
        ({"sampler": "../../evil"}, r'line 1: sampler is "../../evil"; accepted: letters, digits and _ . \+ -'),
        ({"policy": ".."}, r'line 1: policy is ".."; accepted: letters'),
        ({"policy": "other"}, r"line 1: policy is other, but this run \(seed=0 block=eval\) has toy"),
        ({"task": "lift"}, "line 1: task is lift, but this run .* has toy"),
        ({"sampler": "qpilots_u"}, "line 1: sampler is qpilots_u; accepted: this run's, unsteered, best_of_n"),
        ({"env_seed": 4}, r"line 1: env_seed is 4, but this run \(seed=0 block=eval\) has \d+ in episode \d"),
        ({"noise_seed": 4}, "line 1: noise_seed is 4, but this run .*: the line is another run's"),
        ({"episode": 99, "env_seed": 0}, "line 1: env_seed is 0, but this run"),
    ],
)
def test_a_line_that_is_not_the_runs_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    toy_run.run(tmp_path, episodes=2)
    edit_line(tmp_path, **changes)
    with pytest.raises(RunError, match=message):
        read_run(tmp_path)
    with pytest.raises(RunError, match=message):
        toy_run.run(tmp_path, episodes=2)


def test_records_of_another_seed_do_not_count_as_done(tmp_path: Path) -> None:
    toy_run.run(tmp_path / "mine", episodes=1)
    toy_run.run(tmp_path / "theirs", episodes=1, seed=1)
    (tmp_path / "mine" / RECORDS).write_bytes((tmp_path / "theirs" / RECORDS).read_bytes())
    with pytest.raises(RunError, match=r"mine/records.jsonl line 1: env_seed is \d+, but this run \(seed=0 "):
        toy_run.run(tmp_path / "mine", episodes=1)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "config.yaml",
            {"episodes": "many"},
            'config.yaml: episodes is "many"; accepted: a whole number',
        ),
        ("config.yaml", {"samplers": "unsteered"}, 'samplers is "unsteered"; accepted: a list of text'),
        ("config.yaml", {"task": {"stepping": "fast"}}, "config.yaml: task is .*; accepted: a mapping with name: text"),
        ("config.yaml", {"block": "dev"}, "config.yaml: block is dev; accepted: eval, tune, train"),
        ("config.yaml", {"sampler": {}}, "config.yaml: sampler lacks unsteered, best_of_n"),
        ("provenance.json", {}, "provenance.json: the content is .* accepted: a list of a mapping"),
        ("provenance.json", [{}], "provenance.json entry 1 lacks versions, checkpoints, machine, git"),
        (
            "provenance.json",
            [{"versions": {"torch": 2}, "checkpoints": {}, "machine": {}, "git": None}],
            "provenance.json entry 1: versions is .* accepted: a mapping of text",
        ),
    ],
)
def test_wrong_types_in_a_run_folder_are_named(tmp_path: Path, file: str, content: Any, message: str) -> None:
    toy_run.run(tmp_path, episodes=1)
    stored = load_config(tmp_path) if file == "config.yaml" else None
    (tmp_path / file).write_text(json.dumps(content if stored is None else {**stored, **content}))
    with pytest.raises(RunError, match=message):
        read_run(tmp_path)


def test_names_that_are_no_file_names_are_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r'policy is "a/b"; accepted: letters, digits and _'):
        toy_run.run(tmp_path / "run", policy=Component("a/b"))
    assert not (tmp_path / "run").exists()


def test_a_folder_where_nothing_was_recorded_takes_another_configuration(tmp_path: Path) -> None:
    def unbuildable() -> ToyTask:
        raise ValueError("no such stepping")

    with pytest.raises(RunError, match="the task cannot be built"):
        toy_run.run(tmp_path, make_task=unbuildable, task=TaskChoice("toy", {"stepping": "slow"}))
    assert len(toy_run.run(tmp_path, episodes=1)) == 2


def test_errors_are_run_again(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    broken = functools.partial(ToyTask, crash="step", crash_in=(1, 4))
    found = toy_run.run(tmp_path, make_task=broken)
    assert [record.episode for record in found if record.error] == [1, 4, 1, 4]
    toy_run.run(tmp_path, samplers=("unsteered",))
    assert [record.episode for record in read(tmp_path) if record.error] == [1, 4], "another sampler's errors stay"
    assert comparable(toy_run.run(tmp_path)) == reference
    assert not any(record.error for record in read(tmp_path))


def test_a_run_may_grow(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    toy_run.run(tmp_path, episodes=4, samplers=("unsteered",), sampler={"unsteered": {"n": 1}})
    toy_run.run(tmp_path, samplers=("best_of_n",), sampler={"best_of_n": {"n": 3}}, workers=1, batch=2)
    assert comparable(toy_run.run(tmp_path)) == reference
    stored = load_config(tmp_path)
    assert stored is not None
    assert stored["samplers"] == ["unsteered", "best_of_n"]
    assert set(stored["sampler"]) == {"unsteered", "best_of_n"}
    assert len(load_provenance(tmp_path)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, "seed is 0 there, 3 asked"),
        ({"policy": Component("other")}, "policy is toy there, other asked"),
        ({"task": TaskChoice("toy", {"stepping": "stock"})}, "task.stepping is fast there, stock asked"),
        ({"episodes": 1}, "episodes is 2 there, 1 asked: it may only grow"),
        (
            {"sampler": {"unsteered": {"n": 1}, "best_of_n": {"n": 5}}},
            "sampler.best_of_n.n is 3 there, 5 asked",
        ),
    ],
)
def test_a_folder_of_another_configuration_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    toy_run.run(tmp_path, episodes=2)
    before = (tmp_path / RECORDS).read_bytes()
    with pytest.raises(RunError, match=message):
        toy_run.run(tmp_path, **{"episodes": 2, **changes})
    assert (tmp_path / RECORDS).read_bytes() == before


def test_other_checkpoints_are_refused_however_long_ago_they_ran(tmp_path: Path) -> None:
    toy_run.run(tmp_path, episodes=1, fingerprints={"policy": "abc", "posterior": "old"})
    toy_run.run(tmp_path, episodes=2, fingerprints={"policy": "abc"})
    with pytest.raises(RunError, match="another posterior: its hash is old there, new now"):
        toy_run.run(tmp_path, episodes=3, fingerprints={"policy": "abc", "posterior": "new"})
    assert len(read(tmp_path)) == 4


def test_another_simulator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_run.run(tmp_path, episodes=1)
    monkeypatch.setattr(run_folder, "versions", lambda: {**machine.versions(), "mujoco": "9.9"})
    with pytest.raises(RunError, match=r"was made with mujoco 3\.\d\.\d, 9\.9 is installed"):
        toy_run.run(tmp_path, episodes=2)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"holds thesis.tex but no config.yaml"):
        toy_run.run(tmp_path)
    with pytest.raises(RunError, match="cannot be created"):
        toy_run.run(tmp_path / "thesis.tex" / "run")
    (tmp_path / "config.yaml").write_text("lr: 1")
    with pytest.raises(RunError, match=r"config.yaml lacks task, policy, critic"):
        toy_run.run(tmp_path)


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    toy_run.run(tmp_path, episodes=1)
    with (
        run_folder.lock(tmp_path),
        pytest.raises(RunError, match=r"another process is writing"),
    ):
        toy_run.run(tmp_path, episodes=2)


def test_noise_besides_the_generators_is_noted(tmp_path: Path) -> None:
    class Restless(ToyDenoiser):
        def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
            return super().clean(x, t, context) + 0.1 * torch.randn(x.shape)

    toy_run.run(tmp_path, episodes=2)
    toy_run.run(tmp_path, episodes=3, models=Models(Restless(), ToyCritic(), fingerprints={"policy": "abc"}))
    accounts = load_provenance(tmp_path)
    assert [account.get("unpaired_noise") for account in accounts] == [None, ["best_of_n", "unsteered"]]


def test_a_critics_nan_leaves_earlier_records_intact(tmp_path: Path) -> None:
    toy_run.run(tmp_path, samplers=("unsteered",))
    before = (tmp_path / RECORDS).read_bytes()
    found = toy_run.run(tmp_path, models=Models(ToyDenoiser(), ToyCritic(nan_above=-2)))
    errors = {record.sampler: record.error for record in found if record.error is not None}
    assert list(errors) == ["best_of_n"]
    assert "the critic returned NaN or infinity, sampler=best_of_n task=toy episode=" in errors["best_of_n"]
    assert (tmp_path / RECORDS).read_bytes().startswith(before)


def test_a_full_disk_ends_with_one_message_and_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = toy_run.run(tmp_path, episodes=2)
    before = (tmp_path / RECORDS).read_bytes()
    monkeypatch.setattr(records, "to_line", lambda record: b"x" * 20_000)
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5_000, old[1]))
    try:  # the system takes a part of the line and refuses the rest, as a full disk does
        with pytest.raises(RunError, match=r"cannot write .*every earlier record is intact"):
            records.append(tmp_path, found[0], np.zeros((2, 2), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / RECORDS).read_bytes() == before
