"""Experiment trackers: off unless asked for, and told what they are asked to log. Both are stood in for by fakes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.runs.records import read
from tests import toy_run


class FakeRun:
    """Takes what either tracker is told."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.options = {**options, "arguments": arguments}
        self.told: list[tuple[Any, ...]] = []
        self.closed = False

    def __enter__(self) -> FakeRun:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True

    def add_scalar(self, *scalar: Any) -> None:
        self.told.append(scalar)

    def define_metric(self, name: str, step_metric: str) -> None:
        self.options[name] = step_metric

    def log(self, values: dict[str, Any]) -> None:
        self.told.append(tuple(values.items()))


def expected(folder: Path, sampler: str) -> list[tuple[float, int]]:
    """The rate after each of the sampler's episodes, in the order in which they finished."""
    outcomes = [record.success for record in read(folder) if record.sampler == sampler]
    return [(sum(outcomes[:count]) / count, count) for count in range(1, len(outcomes) + 1)]


def test_tensorboard_is_told_every_samplers_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeRun] = []

    def writer_for(folder: Path) -> FakeRun:
        made.append(FakeRun(folder))
        return made[-1]

    fake: Any = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = writer_for
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    toy_run.run(tmp_path, log="tensorboard")
    (writer,) = made
    assert writer.options["arguments"] == (tmp_path / "tensorboard",)
    assert writer.closed
    for sampler in toy_run.SAMPLERS:
        told = [(rate, count) for name, rate, count in writer.told if name == f"success/{sampler}"]
        assert told == expected(tmp_path, sampler)
    toy_run.run(tmp_path, log="tensorboard", episodes=11)
    assert [count for _, _, count in made[1].told] == [11, 11], "a resumed run goes on counting"


def test_wandb_is_told_every_samplers_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeRun] = []

    def init(**options: Any) -> FakeRun:
        made.append(FakeRun(**options))
        return made[-1]

    fake: Any = ModuleType("wandb")
    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    toy_run.run(tmp_path / "mine", log="wandb")
    (run,) = made
    assert (run.options["name"], run.options["config"]["episodes"], run.closed) == ("mine", 10, True)
    assert run.options["success/*"] == "episodes"
    rates = [(told[0][1], told[1][1]) for told in run.told if told[0][0] == "success/unsteered"]
    assert rates == expected(tmp_path / "mine", "unsteered")


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    told = f"log is {package}; the package {package} is not installed: pip install {package}"
    with pytest.raises(RunError, match=f"^{told}$"):
        read_command("evaluate", ["samplers=[unsteered]", f"log={package}"])


def test_other_trackers_are_refused() -> None:
    assert read_command("evaluate", ["samplers=[unsteered]"]).log == "none"
    with pytest.raises(RunError, match=r"^log is mlflow; accepted: none, tensorboard, wandb$"):
        read_command("evaluate", ["samplers=[unsteered]", "log=mlflow"])
