"""What LIBERO needs beside code: init files and assets, found, read safely, and named when they are wrong."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from tasks import TaskError
from tasks.libero_assets import PARTS, VARIABLE, find_assets
from tasks.libero_init_states import read_init_states
from tasks.libero_suites import INIT_STATES, SUITES, package_root, suite_named, task_files
from tests.libero_assets import ASSETS, needs_assets


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
        suite_named("libero_goals")
    with pytest.raises(TaskError, match=r"'libero_goals'.*did you mean 'libero_goal'"):
        tasks.make("libero_goals")


def test_libero_s_options_are_refused_elsewhere() -> None:
    with pytest.raises(TaskError, match=r"index is 3 for task 'lift'; accepted for LIBERO's suites alone"):
        tasks.make("lift", index=3)
    with pytest.raises(TaskError, match="assets is '/x' for task 'can'"):
        tasks.make("can", assets="/x")


def test_an_asset_folder_that_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskError, match=r"assets is '.*nowhere', which is no folder"):
        tasks.make("libero_goal", assets=str(tmp_path / "nowhere"))
    for part in PARTS[2:]:
        (tmp_path / part).mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(TaskError, match=rf"{VARIABLE} is '.*', which lacks articulated_objects, scenes;"):
        tasks.make("libero_goal")


@needs_assets
@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("articulated_objects/flat_stove.xml", "articulated_objects/flat_stove.xml"),
        ("scenes/libero_tabletop_base_style.xml", "scenes/libero_tabletop_base_style.xml"),
        ("articulated_objects/wooden_cabinet", r"articulated_objects/wooden_cabinet/.* and \d+ more"),
    ],
)
def test_missing_asset_files_are_named(tmp_path: Path, lost: str, named: str) -> None:
    copy = tmp_path / "assets"
    shutil.copytree(ASSETS, copy, copy_function=os.symlink)
    shutil.rmtree(copy / lost) if (copy / lost).is_dir() else (copy / lost).unlink()
    with pytest.raises(TaskError, match=rf"{copy} lack {named}"):
        tasks.make("libero_goal", assets=str(copy))


def without_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_no_assets_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_assets(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(TaskError, match=rf"huggingface_hub is not installed.*accepted: assets=FOLDER or {VARIABLE}"):
        tasks.make("libero_goal")

    def unreachable(**_: object) -> None:
        raise ConnectionError("no route to the hub\nand more")

    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(unreachable))
    with pytest.raises(TaskError, match=r"cannot be downloaded into .* \(no route to the hub\); accepted") as problem:
        tasks.make("libero_goal")
    assert "\n" not in str(problem.value)


def test_assets_are_downloaded_once_and_where_hf_libero_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_assets(tmp_path, monkeypatch)
    calls: list[dict] = []

    def snapshot(**arguments: Any) -> None:
        calls.append(arguments)
        for part in PARTS:
            (Path(arguments["local_dir"]) / part).mkdir(parents=True)

    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(snapshot))
    folder = tmp_path / ".cache" / "libero" / "assets"
    assert find_assets() == find_assets() == folder
    assert calls == [{"repo_id": "lerobot/libero-assets", "repo_type": "dataset", "local_dir": folder}]
    source = (package_root() / "utils" / "download_utils.py").read_text()
    assert '"lerobot/libero-assets"' in source
    assert '"~"), ".cache", "libero", "assets")' in source


def hub(download: Any) -> Any:
    module: Any = type(sys)("huggingface_hub")
    module.snapshot_download = download
    return module


def test_an_explicit_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("explicit", "variable"):
        for part in PARTS:
            (tmp_path / folder / part).mkdir(parents=True)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert find_assets() == tmp_path / "variable"
    assert find_assets(tmp_path / "explicit") == tmp_path / "explicit"
