"""Components from outside the suite: files, packages and entry points, and what is told about a mistake in them."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sim_eval
from sim_eval.config.command_line import read
from sim_eval.config.components import Component, component
from sim_eval.config.options import Choice, group, option
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.own_packages import OWN_PACKAGES

MINE = """
from dataclasses import dataclass
from beside_mine import SCALE

@dataclass
class Mine:
    task: str
    strength: float
    gain: float = SCALE

def build(task, size=1, **rest):
    return task, size, rest

def small():
    return "small"

NUMBER = 3
"""
SHIPPED = ["diffusion", "flow"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with mine.py, a module beside it, and a package."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside_mine.py").write_text("SCALE = 2.0\n")
    (tmp_path / "here_package").mkdir()
    (tmp_path / "here_package/model.py").write_text("def build(device, depth=2):\n    return device, depth\n")
    (tmp_path / "here_package/broken.py").write_text("import no_such_library\n")
    (tmp_path / "here_package/hidden.py").write_text("import policies.mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def named(value: str, option: str = "policy", **options: Any) -> Component:
    return component(option, Choice(value, options), SHIPPED)


def test_a_file_gets_its_options_and_what_it_asks_for_of_the_rest(folder: Path) -> None:
    mine = named("./mine.py:build", size=4, other=[1])
    assert mine.target == f"{folder}/mine.py:build"
    assert mine.build(task="can", device="cpu") == ("can", 4, {"other": [1]})
    built = named("mine.py:Mine", strength=0.5).build(task="can", device="cpu")
    assert (built.task, built.strength, built.gain) == ("can", 0.5, 2.0)


def test_a_component_is_the_same_in_another_process(folder: Path) -> None:
    program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).build(task='can'))"
    stored = pickle.dumps(named("./mine.py:build", size=4))
    environment = {**os.environ, "PYTHONPATH": str(Path(sim_eval.__file__).parent.parent)}
    answer = subprocess.run(
        [sys.executable, "-c", program], input=stored, capture_output=True, cwd="/", env=environment
    )
    assert answer.stdout.decode() == "('can', 4, {})\n", answer.stderr.decode()


def test_a_module_of_the_current_folder_is_found_from_any_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "here_package/sizes.py").write_text("DEPTH = 2\n")
    (folder / "here_package/deep.py").write_text("from .sizes import DEPTH\ndef build():\n    return DEPTH\n")
    deep = named("here_package.deep:build")
    assert (deep.label, deep.target) == ("deep", f"{folder}/here_package.deep:build")
    monkeypatch.chdir("/")
    assert deep.build() == 2
    assert named("json.decoder:JSONDecoder").target == "json.decoder:JSONDecoder"


def test_the_source_is_the_file_that_defines_the_target(folder: Path) -> None:
    (folder / "here_package/others.py").write_text(
        "from functools import cache, partial\nfrom here_package.model import build\n"
        "deeper = partial(build, depth=5)\ncached = cache(build)\n"
    )
    deeper = named("here_package.others:deeper")
    assert deeper.build(device="cpu") == ("cpu", 5)
    others, model = ((folder / f"here_package/{name}.py").read_bytes() for name in ("others", "model"))
    assert deeper.source() == named("here_package.others:cached").source() == others
    assert named("builtins:dict").source() == b"", "it has no file"
    assert named("here_package.others:build").source() == named("here_package.model:build").source() == model


def test_an_entry_point_is_called_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = importlib.metadata.EntryPoint("theirs", "here_package.model:build", "sim_eval.policies")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [offered] if group == offered.group else [])
    theirs = named("theirs", depth=5)
    assert (theirs.label, theirs.target) == ("theirs", "here_package.model:build")
    assert theirs.build(device="cpu") == ("cpu", 5)
    with pytest.raises(RunError, match=r"policy is their; accepted: diffusion, flow, theirs, .*did you mean theirs"):
        named("their")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("flow", "flow"),
        ("./mine.py:build", "mine"),
        ("./mine.py:Mine", "mine"),
        ("./mine.py:small", "mine.small"),
        ("here_package.model:build", "model"),
        ("here_package.big_model:BigModel", "big_model"),
    ],
)
def test_labels(folder: Path, value: str, label: str) -> None:
    assert named(value).label == label


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("flaw", "policy is flaw; accepted: diffusion, flow, "),
        ("./mine.py", "policy is ./mine.py; accepted: ./mine.py:NAME"),
        ("./yours.py:build", "yours.py is no Python file"),
        ("./mine.py:", "accepted: package.module:NAME or ./file.py:NAME"),
        (":build", "accepted: package.module:NAME or ./file.py:NAME"),
        ("here_package.model:absent", "/here_package.model; there: build"),
        ("here_package.absent:build", "there is no module here_package.absent in the current folder"),
        ("here_package.broken:build", "importing it failed: No module named 'no_such_library'"),
        ("here_package.hidden:build", "sim-eval has a package called policies of its own, which hides any other"),
        ("policies.mine:build", "rename yours, or name a single file, ./file.py:NAME"),
        ("./mine.py:NUMBER", "NUMBER is not callable; accepted: a class or a function"),
        ("./mine.py:Mine", "needs strength; give policy.strength=VALUE"),
    ],
)
def test_what_cannot_be_built_is_named(folder: Path, value: str, told: str) -> None:
    with pytest.raises(RunError) as error:
        named(value).build(task="can", device="cpu")
    assert str(error.value).startswith("policy")
    assert told in str(error.value)


def test_options_that_nothing_takes_are_named(folder: Path) -> None:
    with pytest.raises(RunError, match="takes no option sizes; accepted: none"):
        named("./mine.py:small", sizes=2).build(task="can")
    with pytest.raises(RunError, match=r"policy.size: policy=flow takes no options"):
        named("flow", size=2)


@dataclass(frozen=True, kw_only=True)
class Inner:
    inputs: str = option("state", "what is read")


@dataclass(frozen=True, kw_only=True)
class Outer:
    policy: Choice = option(Choice("flow"), "the policy")
    critic: Inner = group(Inner)


def test_only_components_get_options_that_no_file_lists(folder: Path) -> None:
    asked = ["policy=./mine.py:build", "policy.gains=[1,2.5]", "policy.x.y=1e-3", "critic.inputs=features"]
    found = read(Outer, asked)
    assert found.critic == Inner(inputs="features")
    assert component("policy", found.policy, ()).options == {"gains": [1, 2.5], "x": {"y": 0.001}}
    for other in ("critic.input=features", "posterior.x=1", "sampler.mine.x=1"):
        with pytest.raises(RunError, match=f"unknown option {other.partition('=')[0]}; accepted: "):
            read(Outer, [other])


@pytest.mark.parametrize("package", OWN_PACKAGES)
def test_a_folder_that_hides_a_package_of_the_suite_is_refused(tmp_path: Path, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(sim_eval.__file__).parent.parent}"}
    answer = subprocess.run(
        [sys.executable, "-c", "import sim_eval"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (
        f"ImportError: sim_eval needs its own package '{package}', and {tmp_path / package} hides it" in answer.stderr
    )
