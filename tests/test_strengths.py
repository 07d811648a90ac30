"""Tuned strengths: their tables, and the sweeps that write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import sim_eval.evaluation.sweep
import sim_eval.models.build
from sim_eval.commands.cli import read_command
from sim_eval.evaluation.sweep import SweepOptions
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import load_yaml
from sim_eval.models.strengths import EVERY_TASK, SHIPPED, Tuned, read_strengths, write_strengths
from sim_eval.runs.sweeps import Trial, read_sweep
from sim_eval.samplers import BestOfN
from sim_eval.samplers.sampler import Models
from tests.commands import Call, message
from tests.toy_models import ToyCritic, ToyDenoiser


def test_strengths_come_from_the_tuned_table(tmp_path: Path) -> None:
    table = tmp_path / "strengths.yaml"
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    settings = read_command("evaluate", ["samplers=[qpilots_u]", f"strengths={table}"])
    assert settings.sampler["qpilots_u"]["strength"] == 0.3
    told = message(["samplers=[qpilots_m]", f"strengths={table}"])
    assert told.startswith("no strength has been tuned for task=can policy=flow sampler qpilots_m")
    assert "sampler.qpilots_m.strength=NUMBER" in told


def test_strengths_of_other_models_are_refused(call: Call, tmp_path: Path) -> None:
    table = Path(tmp_path / "table.yaml")
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    status, _, err = call("evaluate", "samplers=[qpilots_u]", "output=run", f"strengths={table}")
    assert (status, Path("run").exists()) == (2, False)
    assert f"of sampler qpilots_u in {table} was tuned for another policy and critic; give one with sampler.q" in err
    Path("mine.yaml").write_text("can: {flow: {policy: abc, critic: b, strengths: {value_guided: 0.3}}}\n")
    settings = read_command("evaluate", ["samplers=[value_guided]", "strengths=mine.yaml"])
    settings.check_tuned({"policy": "abc", "critic": "b"})
    with pytest.raises(RunError, match="another critic"):
        settings.check_tuned({"policy": "abc", "critic": "c"})
    own = read_command("evaluate", ["samplers=[value_guided]", "sampler.value_guided.strength=0.5"])
    own.check_tuned({"policy": "abc"})


def test_strengths_for_every_task_are_for_critics_of_this_project_on_the_exact_scale(tmp_path: Path) -> None:
    settings = read_command("evaluate", ["samplers=[qpilots_u]"])
    assert settings.sampler["qpilots_u"]["strength"] == load_yaml(SHIPPED)[EVERY_TASK]["qpilots_u"]
    settings.check_tuned({"policy": "any", "critic": "any"})
    assert "no strength has been tuned" in message(["samplers=[qpilots_u]", "sampler.qpilots_u.scale=matched"])
    (tmp_path / "mine.py").write_text("def build(): pass\n")
    assert "no strength has been tuned" in message(["samplers=[qpilots_u]", f"critic={tmp_path}/mine.py:build"])


def test_a_strength_is_used_on_the_scale_that_it_was_tuned_on(tmp_path: Path) -> None:
    table = tmp_path / "strengths.yaml"
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.6, qpilots_m: 4.0}}}\n")
    write_strengths(table, "can", "flow", Tuned("a", "b", {"qpilots_u": 0.2}, {"qpilots_u": "matched"}))
    matched = [f"strengths={table}", "sampler.qpilots_u.scale=matched"]
    assert read_command("evaluate", ["samplers=[qpilots_u]", *matched]).sampler["qpilots_u"]["strength"] == 0.2
    exact = read_command("evaluate", ["samplers=[qpilots_m]", f"strengths={table}"])
    assert exact.sampler["qpilots_m"]["strength"] == 4.0, "an entry without scales is on the exact one"
    refused = "no strength has been tuned for task=can policy=flow sampler"
    assert message(["samplers=[qpilots_u]", f"strengths={table}"]).startswith(f"{refused} qpilots_u; give one")
    told = message(["samplers=[qpilots_m]", f"strengths={table}", "sampler.qpilots_m.scale=matched"])
    assert told.startswith(f"{refused} qpilots_m on scale=matched; give one")
    write_strengths(table, "can", "flow", Tuned("a", "b", {"qpilots_u": 0.5}))
    assert read_strengths(table, "can", "flow") == Tuned("a", "b", {"qpilots_u": 0.5, "qpilots_m": 4.0})
    table.write_text("can: {flow: {strengths: {qpilots_u: 0.6}, scales: matched}}\n")
    assert "can: flow is no table of strengths" in message(["samplers=[qpilots_u]", f"strengths={table}"])


def test_a_sweep_writes_what_it_chose_and_repeats_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def try_strengths(settings: SweepOptions, samplers: Any, *models: Any) -> Iterator[Trial]:
        for name, strength in samplers:
            tried.append((name, strength))
            yield Trial(name, strength, 2, int(10 * strength), (0.0, 1.0), 0.0)

    monkeypatch.setattr(sim_eval.evaluation.sweep, "sweep", try_strengths)
    shipped = SHIPPED.read_bytes()
    arguments = ["sampler=qpilots_u", "episodes=2", "workers=0", "results=mine"]
    status, out, err = call("sweep", *arguments, "strengths=[0.1,0.2]")
    assert status == 0, err
    assert "mine/strengths.yaml; sim-eval evaluate uses them with strengths=mine/strengths.yaml\n" in out
    assert call("sweep", *arguments, "strengths=[0.2,0.1,0.05]")[0] == 0
    assert tried == [("qpilots_u", 0.1), ("qpilots_u", 0.2), ("qpilots_u", 0.05)]
    tuned = read_strengths(Path("mine/strengths.yaml"), "can", "flow")
    assert tuned == Tuned("abc", "def", {"qpilots_u": 0.2})
    assert SHIPPED.read_bytes() == shipped
    matched = [*arguments, "sampler.qpilots_u.scale=matched", "results=matched", "strengths=[0.1]"]
    assert call("sweep", *matched)[0] == 0
    tuned = read_strengths(Path("matched/strengths.yaml"), "can", "flow")
    assert tuned == Tuned("abc", "def", {"qpilots_u": 0.1}, {"qpilots_u": "matched"})
    others = Path("others.yaml")
    others.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    status, _, err = call("sweep", *arguments, "results=other", f"output={others}")
    assert (status, "that were tuned for another policy and critic; accepted: another output=FILE" in err) == (2, True)
    assert not Path("other").exists()


def test_a_sweep_of_best_of_n_turns_its_number_of_draws(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def try_strengths(settings: SweepOptions, samplers: Any, *models: Any) -> Iterator[Trial]:
        for (name, strength), sampler in samplers.items():
            tried.append(sampler)
            yield Trial(name, strength, 2, int(strength == 4), (0.0, 1.0), 0.0)

    monkeypatch.setattr(sim_eval.evaluation.sweep, "sweep", try_strengths)
    arguments = ["sampler=best_of_n", "episodes=2", "workers=0", "results=mine"]
    status, out, err = call("sweep", *arguments, "strengths=[2,4]")
    assert status == 0, err
    assert tried == [BestOfN(n=2), BestOfN(n=4)]
    assert "chosen: best_of_n 4\n" in out
    assert not Path("mine/strengths.yaml").exists()
    status, _, err = call("sweep", *arguments, "strengths=[0.5]")
    assert "strengths has 0.5, for best_of_n the number of draws; accepted: whole numbers from 1 on" in err


def test_a_trial_with_an_error_is_left_out_and_the_others_go_on(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThree(ToyCritic):
        def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
            if len(actions) % 3 == 0:
                raise ArithmeticError("three is too many")
            return super().q(actions, encoded)

    models = Models(ToyDenoiser(), NoThree(), fingerprints={"policy": "abc", "critic": "def"})
    monkeypatch.setattr(sim_eval.models.build, "build_models", lambda *_: models)
    arguments = ["sweep", "samplers=[best_of_n]", "episodes=2", "workers=0", "results=swept"]
    status, _, err = call(*arguments, "strengths=[3,1,2]")
    assert status == 0, err
    assert "left out: best_of_n at 3, episode 0: ArithmeticError: three is too many" in err
    found = read_sweep(next(Path("swept").glob("*.json")))
    assert found is not None
    assert [trial.strength for trial in found.trials] == [1.0, 2.0]
    status, _, err = call(*arguments[:-1], "results=other", "strengths=[3]")
    assert status == 2
    assert "sampler best_of_n has no trial whose episodes all end without an error; see above" in err


def test_strengths_are_added_to_a_file_and_its_comments_kept(tmp_path: Path) -> None:
    path = tmp_path / "strengths.yaml"
    write_strengths(path, "lift", "flow", Tuned("a", "b", {"value_guided": 0.2}))
    path.write_text(f"# a comment\n{path.read_text()}")
    write_strengths(path, "lift", "flow", Tuned("a", "b", {"qpilots_u": 0.3}))
    assert path.read_text().startswith("# a comment\nlift:\n  flow:\n    policy: a\n")
    assert read_strengths(path, "lift", "flow") == Tuned("a", "b", {"value_guided": 0.2, "qpilots_u": 0.3})
    path.write_text("lift: {flow: {qpilots_u: 0.3}}\n")
    with pytest.raises(RunError, match="lift: flow is no table of strengths; accepted: a file that sim-eval sweep"):
        read_strengths(path, "lift", "flow")
