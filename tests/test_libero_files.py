"""LIBERO's init files and suites: found, read safely, and named when they are wrong."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from tasks import TaskError
from tasks.libero_init_states import read_init_states
from tasks.libero_suites import INIT_STATES, SUITES, task_files


def test_every_init_file_is_read_without_torch() -> None:
    for suite in SUITES.values():
        for index in range(suite.tasks):
            path = task_files(suite, index).init_states
            with pytest.raises(TaskError, match="belongs to another task") as problem:
                read_init_states(path, 0, 0)
            width = int(str(problem.value).split("have ")[1].split(" ")[0])
            assert read_init_states(path, width - 1, 0).shape == (INIT_STATES, width)


def test_an_init_file_cannot_run_code(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "evil.pruned_init"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Malice()))
    with pytest.raises(TaskError, match=r"evil\.pruned_init.*mkdir"):
        read_init_states(path, 3, 3)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04"])
def test_a_broken_init_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pruned_init"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"broken\.pruned_init cannot be read"):
        read_init_states(path, 3, 3)


def test_an_init_file_of_something_else_is_named(tmp_path: Path) -> None:
    for content in (np.zeros(5), np.full((2, 7), np.nan)):
        path = tmp_path / "odd.pruned_init"
        buffer = io.BytesIO()
        pickle.dump(content, buffer, protocol=2)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", buffer.getvalue())
        with pytest.raises(TaskError, match="holds no table of finite states"):
            read_init_states(path, 3, 3)


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index", "last"), [("libero_goal", 10, 9), ("libero_90", -1, 89), ("libero_10", 1.5, 9)]
)
def test_an_index_out_of_range(name: str, index: Any, last: int) -> None:
    with pytest.raises(TaskError, match=rf"index is {index}; accepted for {name}: 0 to {last}"):
        tasks.make(name, index=index)


def test_a_suite_that_does_not_exist() -> None:
    with pytest.raises(TaskError, match=r"'libero_goals'.*libero_spatial.*did you mean 'libero_goal'"):
        tasks.make("libero_goals")


def test_libero_s_options_are_refused_elsewhere() -> None:
    with pytest.raises(TaskError, match=r"index is 3 for task 'lift'; accepted for LIBERO's suites alone"):
        tasks.make("lift", index=3)
    with pytest.raises(TaskError, match="assets is '/x' for task 'can'"):
        tasks.make("can", assets="/x")
