"""Settings that all tests share."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sim_eval.commands import cli
from tasks.simulated_task import release_asset_cache
from tests.commands import QUICK, Call, put_toy

# Read when imageio starts ffmpeg: without it imageio forks this process, which has drawn, see sim_eval/video/encode.py.
os.environ["IMAGEIO_FFMPEG_NO_PREVENT_SIGINT"] = "1"

# Read when Ray is imported: the one that tests/ray_head.py starts demands its token.
os.environ.setdefault("RAY_AUTH_MODE", "token")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in an evaluation; and tests that run side by side do not fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def collected_once() -> None:
    """robosuite collects garbage whenever an environment closes: keep it from searching the imported modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def freed_after_each_module() -> Iterator[None]:
    """Simulators in cycles of references wait for a collection, which their size does not hasten."""
    yield
    gc.collect()
    release_asset_cache()


_forks: list[str] = []
os.register_at_fork(before=lambda: _forks.append("".join(traceback.format_stack(limit=8))))


@pytest.fixture(autouse=True)
def never_forked() -> Iterator[None]:
    """This process draws in some tests, and must not be forked in any: see sim_eval/video/encode.py."""
    _forks.clear()
    yield
    assert not _forks, _forks[0]


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """No connection to another machine can be opened."""

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise ConnectionRefusedError(f"a test tried to reach {address}")
        connect(self, address)

    connect = socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """A command in an empty folder, with the toy in place of simulator and checkpoints: status, stdout, stderr."""

    put_toy(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sim-eval", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a QUICK run, which tests copy."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        put_toy(monkeypatch)
        monkeypatch.setattr(sys, "argv", ["sim-eval", "evaluate", *QUICK, f"output={folder}"])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
    return folder


@pytest.fixture
def evaluated(quick_run: Path, call: Call) -> Call:
    """As `call`, in a folder that holds a QUICK run in ./run."""
    shutil.copytree(quick_run, "run")
    return call
