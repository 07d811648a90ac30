"""The benchmark of a GPU machine, on the CPU: each part with tiny sizes, and what keeps the parts apart."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

import tasks
from benchmarks import drawing, gpu, latency, processes
from benchmarks.gpu import LeftOut, Part, Row
from policies.lerobot import library
from sim_eval.samplers import Models
from tasks.rendering import backend_without_screen
from tests import tiny_pi
from tests.taped import Taped, TapedUpdates
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import make_toy

COLUMNS = {
    "machine": {"what", "found"},
    "equality": {"sampler", "largest difference", "twice the same"},
    "smolvla": {
        "batch",
        "sampler",
        "first ms",
        "ms",
        "times the library's",
        "n",
        "equal to it",
        "equal to eager",
        "host waits",
        "most of them",
    },
    "episodes": {"device", "workers", "sampler", "n", "a minute"},
    "training": {"device", "updates", "heads", "width", "layers", "n", "a second", "equal to eager"},
}


def counting(seconds: float) -> Iterator[Row]:
    for number in range(3):
        yield {"number": number, "share": number / 7, "even": number % 2 == 0}


def endless(seconds: float) -> Iterator[Row]:
    yield {"number": 0}
    while True:
        with contextlib.suppress(Exception):  # as a library may
            sum(range(1000))


def failing(seconds: float) -> Iterator[Row]:
    yield {"number": 0}
    raise ValueError("a first line\nand a last one")


@pytest.mark.usefixtures("offline")
def test_every_part_measures_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [
        Part("machine", 60, gpu.describe),
        Part("equality", 60, partial(gpu.equality, device="cpu")),
        Part(
            "smolvla",
            150,
            partial(
                gpu.vla,
                kind="smolvla",
                device="cpu",
                dtype="float32",
                rounds=1,
                batches=[2],
                tiny=True,
                capture=Taped(),
            ),
        ),
        Part("training", 60, partial(gpu.training, sizes=[(2, 8, 2)], graphs=TapedUpdates())),
    ]
    found = gpu.run(chosen, tmp_path)
    monkeypatch.setattr(latency, "models_on", lambda task, device: Models(ToyDenoiser(), ToyCritic()))
    monkeypatch.setattr(tasks, "make", make_toy)
    found |= gpu.run([Part("episodes", 60, partial(gpu.episodes, task="can", places=[("cpu", 0)]))], tmp_path / "more")
    assert {name: set(each["rows"][0]) for name, each in found.items()} == COLUMNS
    assert not [each["error"] for each in found.values() if each["error"]]
    assert [row["twice the same"] for row in found["equality"]["rows"]] == [True] * len(latency.SAMPLERS)
    assert not any(row["largest difference"] for row in found["equality"]["rows"])
    unsteered = [row for row in found["smolvla"]["rows"] if row["sampler"] in ("library", "unsteered")]
    assert [(row["batch"], row["equal to it"]) for row in unsteered] == [(2, True), (2, True)]
    names = [row["sampler"] for row in found["smolvla"]["rows"]]
    assert names.count("qpilots_u, graphs") == names.count("qpilots_u") == 1
    assert [row["equal to eager"] for row in found["smolvla"]["rows"]] == [
        True if name.endswith(gpu.GRAPHS) else None for name in names
    ]
    rows = [(row["updates"], row["equal to eager"]) for row in found["training"]["rows"]]
    assert rows[-2:] == [("eager", None), ("graph", True)]
    if not torch.cuda.is_available():
        assert found["training"]["left_out"] == found["episodes"]["left_out"] == "what needs a GPU: torch finds none"


@pytest.mark.usefixtures("offline")
def test_pi05_is_measured_or_left_out() -> None:
    part = partial(gpu.vla, kind="pi05", device="cpu", dtype="bfloat16", rounds=1, batches=[2], tiny=True)
    if library.version() < (0, 6):
        with pytest.raises(LeftOut, match=r"pi0\.5 needs LeRobot 0\.6"):
            list(part(60))
        return
    with tiny_pi.small_networks():
        rows = list(part(60))
    assert {row["sampler"]: row["equal to it"] for row in rows if row["sampler"] == "unsteered"} == {"unsteered": True}
    assert len(rows) == 1 + len(gpu.VLA_SAMPLERS)


def test_a_part_that_fails_or_takes_too_long_keeps_its_rows_and_ends_no_other(tmp_path: Path) -> None:
    gone = partial(gpu.without, why="no such device")
    chosen = [Part("a", 9, failing), Part("b", 0.1, endless), Part("c", 9, gone), Part("d", 9, counting)]
    found = gpu.run(chosen, tmp_path)
    assert [len(each["rows"]) for each in found.values()] == [1, 1, 0, 3]
    first, second, *rest = [each["error"] for each in found.values()]
    assert first.startswith("ValueError: a first line and a last one (test_gpu_benchmark.py:")
    assert second == "0.1 s are over"
    assert rest == [None, None]
    assert [each["left_out"] for each in found.values()] == [None, None, "no such device", None]
    assert json.loads((tmp_path / "gpu.json").read_text()) == found
    page = (tmp_path / "gpu.md").read_text()
    assert "| 1 | 0.143 | no |" in page
    assert "Error: ValueError: a first line and a last one" in page
    assert "Left out: no such device" in page


def test_the_whole_has_a_limit_too(tmp_path: Path) -> None:
    found = gpu.run([Part("a", 60, endless), Part("b", 60, counting)], tmp_path, whole=0.1)
    assert found["a"]["error"] == "0.1 s are over"
    assert found["b"]["left_out"] == "the other parts have taken all the time"
    assert found["b"]["rows"] == []


def test_waits_for_the_gpu_are_counted_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def decide() -> None:
        warnings.warn("something else", stacklevel=1)
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation (Triggered internally ...)", stacklevel=1)

    waits = gpu.host_waits(decide)
    assert waits.total() == 3
    assert [place.split(":")[0] for place in waits] == ["test_gpu_benchmark.py"]
    assert modes == ["warn", "default"]


def test_compiling_beside_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    since = time.time()
    monkeypatch.setattr(gpu, "_COMPILE", "pass")
    (row,) = gpu.compiled(60, gpu.compile_in_background(tmp_path), since)
    assert row["s"] > -1
    broken = processes.start(["sh", "-c", "echo no compiler; exit 3"], {}, tmp_path / "log.txt")
    with pytest.raises(RuntimeError, match="no compiler"):
        list(gpu.compiled(60, broken, since))


def test_a_drawing_rate_comes_with_its_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    gl_library = backend_without_screen()
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(drawing, "pairs_a_second", lambda name, request, seconds, start: request.image_size)
    renderer, rate = drawing.drawn_by(gl_library, "can", 64, 1.0)
    assert renderer.startswith(f"{gl_library}, ")
    assert rate == 64


def test_all_parts_fit_in_five_minutes(tmp_path: Path) -> None:
    started = processes.start(["true"], {}, tmp_path / "log.txt")
    started.process.wait()
    for quick in (True, False):
        chosen = gpu.parts(quick, started, 0.0)
        assert len({part.name for part in chosen}) == len(chosen) == 11
        assert all(part.seconds <= gpu.WHOLE < 300 for part in chosen)
