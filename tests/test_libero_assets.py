"""LIBERO's assets: which of them are taken, and what is said when they are missing or wrong."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import tasks
from sim_eval.assets import with_assets, with_recorded_assets
from sim_eval.evaluation.settings import read_settings
from tasks import TaskError
from tasks.libero_assets import LITE, PARTS, REAL, VARIABLE, Assets, choose_assets
from tasks.libero_suites import package_root
from tests.libero_assets import ASSETS, folder_of_assets, needs_assets

HERE = Path(".cache") / "libero" / "assets"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without assets and without a hub; their home."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return tmp_path


# Bad input -----------------------------------------------------------------------------------------------


def test_a_value_that_means_nothing() -> None:
    with pytest.raises(
        TaskError, match=r"assets is 'light', which is no folder; accepted: auto, real, lite or a folder"
    ):
        choose_assets("libero_goal", "light")


@pytest.mark.parametrize("suite", ["libero_10", "libero_90"])
def test_lite_where_there_is_none(suite: str, bare: Path) -> None:
    only = r"There are lite assets for libero_spatial, libero_object, libero_goal alone"
    with pytest.raises(TaskError, match=rf"assets is 'lite'; accepted for {suite}: auto, real or a folder\. {only}"):
        tasks.make(suite, assets=LITE)
    with pytest.raises(TaskError, match=rf"not in .*; accepted: assets=FOLDER or .* assets\. {only}"):
        tasks.make(suite)


def test_an_asset_folder_that_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskError, match=r"assets is '.*nowhere', which is no folder; accepted: auto, real, lite or"):
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


def test_real_ones_without_a_hub(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = rf"accepted: assets=FOLDER or {VARIABLE}=FOLDER with LIBERO's assets, or assets=lite"
    with pytest.raises(TaskError, match=rf"huggingface_hub is not installed.*{accepted}"):
        tasks.make("libero_goal", assets=REAL)

    def unreachable(**_: object) -> None:
        raise ConnectionError("no route to the hub\nand more")

    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(unreachable))
    with pytest.raises(
        TaskError, match=rf"cannot be downloaded into .* \(no route to the hub\); {accepted}"
    ) as problem:
        tasks.make("libero_goal", assets=REAL)
    assert "\n" not in str(problem.value)


# What is taken -------------------------------------------------------------------------------------------


def test_a_folder_wins_then_the_variable(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, variable = folder_of_assets(bare / "given"), folder_of_assets(bare / "variable")
    monkeypatch.setenv(VARIABLE, str(variable))
    assert choose_assets("libero_10", given) == Assets(str(given))
    for asked in ("auto", REAL):
        assert choose_assets("libero_10", asked) == Assets(str(variable))
    assert choose_assets("libero_goal", LITE) == Assets(LITE)
    task = {"name": "libero_goal", "index": 0}
    for asked, stored in (("auto", REAL), (REAL, REAL), (LITE, LITE), (str(given), str(given))):
        assert with_assets({**task, "assets": asked})["assets"] == stored


def test_assets_are_downloaded_once_and_where_hf_libero_looks(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict] = []

    def snapshot(**arguments: Any) -> None:
        calls.append(arguments)
        folder_of_assets(Path(arguments["local_dir"]))

    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(snapshot))
    assert choose_assets("libero_goal") == choose_assets("libero_90") == Assets(str(bare / HERE))
    (call,) = calls
    assert call.pop("etag_timeout") <= 10  # seconds that a run waits for a hub that does not answer
    assert call == {"repo_id": "lerobot/libero-assets", "repo_type": "dataset", "local_dir": bare / HERE}
    source = (package_root() / "utils" / "download_utils.py").read_text()
    assert '"lerobot/libero-assets"' in source
    assert '"~"), ".cache", "libero", "assets")' in source


def test_a_download_that_lacks_something_is_not_taken(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules,
        "huggingface_hub",
        hub(lambda local_dir, **_: (local_dir / PARTS[0]).mkdir(parents=True, exist_ok=True)),
    )
    assert choose_assets("libero_goal").value == LITE
    with pytest.raises(TaskError, match=r"downloaded into .*, lack scenes, stable_hope_objects.*; accepted"):
        choose_assets("libero_goal", REAL)


def hub(download: Any) -> Any:
    module: Any = type(sys)("huggingface_hub")
    module.snapshot_download = download
    return module


def test_auto_takes_lite_where_there_is_nothing_else(bare: Path) -> None:
    task = tasks.make("libero_object")
    assert task.assets == LITE
    task.close()
    assert not list(bare.iterdir())


def test_a_run_settles_its_assets_and_says_so_once(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings(["task=libero_goal", "samplers=[unsteered]"])
    assert settings.task["assets"] == settings.stored()["task"]["assets"] == LITE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "task.assets=lite: primitives stand in for LIBERO's own assets, because LIBERO's assets are not"
    )
    assert with_assets(settings.task) == settings.task
    assert capsys.readouterr().err == ""


def test_a_replay_takes_assets_of_the_recorded_kind(bare: Path) -> None:
    folder = str(folder_of_assets(bare / "given"))
    task = {"name": "libero_goal", "index": 0, "stepping": "fast"}
    for recorded, taken in ((LITE, LITE), (folder, folder), (str(bare / "gone"), REAL)):
        assert with_recorded_assets({**task, "assets": recorded}) == {**task, "assets": taken}
    assert with_recorded_assets({"name": "can"}) == {"name": "can"}
