"""A policy with pictures: as a file, as a module of another package, and by that package's entry point."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from sim_eval.commands import cli
from sim_eval.foundation.own_packages import OWN_PACKAGES
from sim_eval.runs.reader import read_run
from sim_eval.runs.records import Record

PICTURES = Path(__file__).resolve().parent.parent / "benchmarks/picture_policy.py"

#: Ends an episode of Lift after two decisions: an untrained policy lifts nothing.
SHORT = """
import dataclasses
import tasks

class Short:
    def __init__(self):
        self.task = tasks.make("lift")
        self.spec = dataclasses.replace(self.task.spec, name="short", max_steps=16)

    def __getattr__(self, name):
        return getattr(self.task, name)

    def reset(self, key):
        self.task.reset(dataclasses.replace(key, task="lift"))
        self.left = self.spec.max_steps

    def step(self, action):
        outcome = self.task.step(action)
        self.left -= 1
        return dataclasses.replace(outcome, done=outcome.done or not self.left)

from policies.posterior_flow import PosteriorFlow

def posterior(policy, steps=2):
    return PosteriorFlow(policy, steps)
"""

CRITIC = """
import torch
from sim_eval import Critic

class Low(Critic):
    observations = ("robot0_eef_pos",)

    def encode(self, observation, features):
        return torch.from_numpy(observation["robot0_eef_pos"])

    def q(self, actions, encoded):
        return -(encoded[:, None] + actions[:, :, :3]).square().sum((1, 2))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a package that is installed in its `site`."""
    (tmp_path / "short.py").write_text(SHORT)
    (tmp_path / "low.py").write_text(CRITIC)
    shutil.copy(PICTURES, tmp_path / "mine.py")
    package = tmp_path / "source"
    (package / "brought_in").mkdir(parents=True)
    (package / "brought_in/__init__.py").touch()
    shutil.copy(PICTURES, package / "brought_in/mine.py")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "brought-in"\nversion = "1"\n'
        '[project.entry-points."sim_eval.policies"]\nmine = "brought_in.mine:build"\n'
    )
    install = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([sys.executable, *install, str(tmp_path / "site"), str(package)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    yield tmp_path
    for name in ("brought_in", "brought_in.mine"):
        sys.modules.pop(name, None)


def run(monkeypatch: pytest.MonkeyPatch, name: str, *options: str) -> list[tuple[object, ...]]:
    """`sim-eval` over two episodes into the folder `name`; what is the same in equal records."""
    common = ["task=./short.py:Short", "critic=./low.py:Low", "episodes=2", f"output={name}"]
    monkeypatch.setattr(sys, "argv", ["sim-eval", "evaluate", *common, *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    return sorted(map(measured, read_run(Path(name)).records))


def measured(record: Record) -> tuple[object, ...]:
    assert record.error is None, record.error
    return record.sampler, record.episode, record.state_hash, record.success, record.steps, tuple(record.q or ())


@pytest.mark.usefixtures("folder")
def test_a_file_a_module_and_an_entry_point_give_equal_records(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["samplers=[unsteered]", "workers=0", "batch=1"]
    file = run(monkeypatch, "file", "policy=./mine.py:build", *options, "policy.seed=1")
    assert len(file) == 2
    assert run(monkeypatch, "module", "policy=brought_in.mine:build", *options, "policy.seed=1") == file
    assert run(monkeypatch, "entry", "policy=mine", *options, "policy.seed=1") == file
    assert run(monkeypatch, "other", "policy=mine", *options, "policy.seed=2") != file


@pytest.mark.usefixtures("folder")
def test_a_policy_with_pictures_is_steered_alike_by_any_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    strengths = [f"sampler.{name}.strength=0.1" for name in ("value_guided", "qpilots_u", "qpilots_m")]
    options = ["policy=mine", "posterior=./short.py:posterior", *strengths]
    alone = run(monkeypatch, "alone", *options, "workers=0")
    assert len({sampler for sampler, *_ in alone}) == 5
    assert len({q for *_, q in alone}) == 10
    for workers in (1, 2):
        assert run(monkeypatch, f"workers{workers}", *options, f"workers={workers}") == alone


@pytest.mark.parametrize("package", ["sim_eval", *OWN_PACKAGES])
def test_a_type_checker_reads_the_packages_own_annotations(package: str) -> None:
    assert resources.files(package).joinpath("py.typed").is_file(), "PEP 561"
