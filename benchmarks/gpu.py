"""Is a GPU's answer right, and how fast is it? One call of at most 5 minutes on a machine with one.

usage: python -m benchmarks.gpu OUT [--quick]

OUT/gpu.json and OUT/gpu.md are written after each part, and each part's table is printed:

- machine: versions, processor, GPU, driver.
- equality: normalised chunks of can's flow policy by sampler, on the CPU and twice on the GPU.
- smolvla, pi05, in bfloat16 and float32: milliseconds of a decision with random weights (benchmarks.random_vla), eager
  and with CUDA graphs, beside the library's own `predict_action_chunk`; the time of the first decision, which captures;
  whether the chunk with graphs is the eager one; and how often the host waits for the GPU in one decision, as far as
  torch sees it. pi0.5 needs LeRobot 0.6.
- compile: seconds that the fast control step took to compile, in the background of the parts above.
- episodes: of can, a minute, by sampler, device and number of workers. A worker plays `EACH` at the same time.
- training: updates a second of a critic (benchmarks.training_rate), eager and as a CUDA graph, and whether the weights
  are equal after as many updates of each.
- drawing_egl, drawing_osmesa: pairs of pictures of can a second by one process, and the renderer.

A part that fails, or is stopped because its time is over, keeps the rows that it has and does not end the others.
Without a GPU what needs one is left out. --quick: small sizes, to try everything on a CPU.

The machine needs what requirements.txt and requirements-vla.txt list, with any torch from 2.6 on, and neither network
nor model weights. What must be carried to one without a network: this repository, of its checkpoints checkpoints/can
alone, and the packages that it lacks. Of robosuite's 600 MB can reads its code and 80 files, which its model's XML
names: 12 MB packed. LIBERO's and OGBench's packages are not read. EGL needs libegl1 and libopengl0.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from benchmarks import drawing, latency, processes, training_rate, vla_latency
from benchmarks.episode_rate import episodes_a_minute
from policies.lerobot import library
from policies.lerobot.flow import FlowVLA
from policies.lerobot.graphs import Capture, cuda_graph
from sim_eval.config.tasks import factory_of
from sim_eval.foundation.errors import in_one_line
from sim_eval.foundation.files import write_text
from sim_eval.foundation.machine import machine, versions
from sim_eval.installation.machine import gpu_check
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.local_engine import FEW, LOCKSTEP_WORKERS
from sim_eval.rollout.start import open_engine
from sim_eval.training.replayed import Captures, cuda_graphs
from tasks import packages

Row = dict[str, Any]

#: Seconds of the whole; the rest of 5 minutes is for imports and the end.
WHOLE = 270.0
TASK = "can"
#: Episodes that a worker plays at the same time. An evaluation plays 8, whose start and end would take too long here.
EACH = 2
#: After the name of a sampler that decides with CUDA graphs.
GRAPHS = ", graphs"
VLA_SAMPLERS = ("unsteered", "best_of_8", "qpilots_u", "qpilots_m")
EPISODE_SAMPLERS = ("unsteered", "qpilots_u")
_NO_GPU = "what needs a GPU: torch finds none"
_COMPILE = """
import numpy
from benchmarks.drawing import started
with started("can") as task:
    task.step(numpy.zeros(task.spec.action.shape, numpy.float32))
"""


class LeftOut(Exception):  # noqa: N818
    """Why a part, or the rest of it, is not measured here."""


class OutOfTime(BaseException):
    """The part's time is over. No `except Exception` on the way may swallow it."""


@dataclass(frozen=True)
class Part:
    """A part of the benchmark. measure: from the seconds that it may take to its rows."""

    name: str
    seconds: float
    measure: Callable[[float], Iterator[Row]]


def describe(seconds: float) -> Iterator[Row]:
    found = {**machine(), **versions(), **packages.versions(("lerobot", "transformers")), "gpu": gpu_check().found}
    for what, value in found.items():
        yield {"what": what, "found": value}


def equality(seconds: float, device: str) -> Iterator[Row]:
    here, there = latency.models_on(TASK, "cpu"), latency.models_on(TASK, device)
    pending = latency.waiting(TASK, here)
    for name, sampler in latency.SAMPLERS.items():
        with _one_thread():
            expected, first, again = (latency.chunks(sampler, models, pending) for models in (here, there, there))
        largest = float(np.abs(first - expected).max())
        yield {"sampler": name, "largest difference": largest, "twice the same": bool((first == again).all())}


def vla(
    seconds: float,
    kind: str,
    device: str,
    dtype: str,
    rounds: int,
    batches: Sequence[int] = (1, 8),
    tiny: bool = False,
    capture: Capture | None = None,
) -> Iterator[Row]:
    """capture: None for eager decisions alone."""
    if kind == "pi05" and library.version() < (0, 6):
        raise LeftOut(f"pi0.5 needs LeRobot 0.6, and {'.'.join(map(str, library.version()))} is installed")
    begin = time.perf_counter()
    models = vla_latency.models_on(kind, device, dtype, tiny)
    frozen = models.policy
    assert isinstance(frozen, FlowVLA)
    variants = {"": models} if capture is None else {"": models, GRAPHS: vla_latency.replayed(models, capture)}
    share = (0.9 * seconds - (time.perf_counter() - begin)) / len(batches)
    for rows in batches:
        until = time.perf_counter() + share
        decisions = {"library": vla_latency.librarys_own(frozen, rows)}
        for name in VLA_SAMPLERS:
            for suffix, variant in variants.items():
                decisions[name + suffix] = vla_latency.decision(variant, vla_latency.SAMPLERS[name], rows)
        firsts = {name: vla_latency.seconds(decide) for name, decide in decisions.items()}  # memory, captures
        chunks = {name: decide() for name, decide in decisions.items()}
        waits = {name: host_waits(decide) if device == "cuda" else None for name, decide in decisions.items()}
        times: dict[str, list[float]] = {name: [] for name in decisions}
        for turn in range(rounds):
            if turn and time.perf_counter() > until:
                break
            for name, decide in decisions.items():
                times[name].append(vla_latency.seconds(decide))
        medians = {name: statistics.median(found) for name, found in times.items()}
        for name, median in medians.items():
            waited, eager = waits[name], name.removesuffix(GRAPHS)
            yield {
                "batch": rows,
                "sampler": name,
                "first ms": 1e3 * firsts[name],
                "ms": 1e3 * median,
                "times the library's": median / medians["library"],
                "n": len(times[name]),
                "equal to it": bool(torch.equal(chunks[name], chunks["library"])),
                "equal to eager": bool(torch.equal(chunks[name], chunks[eager])) if eager != name else None,
                "host waits": None if waited is None else waited.total(),
                "most of them": None if waited is None else _most(waited),
            }


def host_waits(call: Callable[[], Any]) -> Counter[str]:
    """How often each line made the host wait for the GPU during a call. torch does not see all of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [warning for warning in caught if "synchronizing CUDA operation" in str(warning.message)]
    return Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in found)


def _most(waits: Counter[str]) -> str:
    return ", ".join(f"{place} x {count}" for place, count in waits.most_common(4))


def compiled(seconds: float, compiling: processes.Started, since: float) -> Iterator[Row]:
    """The end of what `compile_in_background` started at `since`, `time.time`."""
    if compiling.process.wait() != 0:
        raise RuntimeError(compiling.log.read_text().strip().splitlines()[-1])
    yield {"s": compiling.log.stat().st_mtime - since}


def compile_in_background(folder: Path) -> processes.Started:
    """Compile the fast control step, which takes up to a minute, and print when it is done."""
    command = [sys.executable, "-c", f"{_COMPILE}\nprint('compiled')"]
    return processes.start(command, dict(os.environ), folder / "compile.txt")


def episodes(seconds: float, task: str, places: Sequence[tuple[str, int]]) -> Iterator[Row]:
    """places: device and number of workers, the most interesting first. The first timing sizes the next."""
    share = seconds / (2 * len(places) * len(EPISODE_SAMPLERS))  # the other half starts the workers
    pace: dict[str, float] = {}  # seconds of an episode and worker, by sampler
    for device, workers in places:
        if device == "cuda" and not torch.cuda.is_available():
            continue
        models, busy = latency.models_on(task, device), max(workers, 1)
        lockstep = device != "cpu" or workers <= LOCKSTEP_WORKERS
        least = 1 if lockstep else FEW + 1  # fewer are played in lockstep
        with open_engine(factory_of(task), workers, EACH * busy if lockstep else EACH) as engine:
            warm = episode_keys(task, 0, max(least, EACH * busy), "tune")
            episodes_a_minute(engine, warm, latency.SAMPLERS["unsteered"], models)  # starts the workers
            for name in EPISODE_SAMPLERS:
                each = min(16, max(2 * EACH, int(share / pace[name]))) if name in pace else 2 * EACH
                keys = episode_keys(task, 0, max(least, each * busy))
                rate = episodes_a_minute(engine, keys, latency.SAMPLERS[name], models)
                pace.setdefault(name, 60 * busy / rate)
                yield {"device": device, "workers": workers, "sampler": name, "n": len(keys), "a minute": rate}
    if not torch.cuda.is_available():
        raise LeftOut(_NO_GPU)


def training(seconds: float, sizes: Sequence[tuple[int, int, int]], graphs: Captures | None = None) -> Iterator[Row]:
    """graphs: of the last device, the GPU; None for eager updates alone."""
    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    share = seconds / (2 * (len(names) + (graphs is not None)) * len(sizes))
    for size in sizes:
        for name in names:
            kinds: dict[str, Captures] = {"eager": training_rate.eager}
            if graphs is not None and name == names[-1]:
                kinds["graph"] = graphs
            yield from _rates(size, name, share, kinds)
    if "cuda" not in names:
        raise LeftOut(_NO_GPU)


def _rates(size: tuple[int, int, int], name: str, share: float, kinds: Mapping[str, Captures]) -> Iterator[Row]:
    """The rate of each kind of updates in about `share` seconds, on the device of this name, the eager ones first."""
    heads, width, layers = size
    train = partial(training_rate.trained, size, torch.device(name))
    found: dict[str, training_rate.Trained] = {}
    with _one_thread():
        guess = train(warm=2, measured=3, captures=kinds["eager"]).rate
        warm, measured = 2 if len(kinds) == 1 else 10, min(training_rate.MEASURED, max(3, int(guess * share)))
        for kind, captures in kinds.items():
            found[kind] = train(warm=warm, measured=measured, captures=captures)
            yield {
                "device": name,
                "updates": kind,
                "heads": heads,
                "width": width,
                "layers": layers,
                "n": measured,
                "a second": found[kind].rate,
                "equal to eager": None if kind == "eager" else found[kind].same(found["eager"]),
            }


def drawn(seconds: float, gl_library: str, size: int, duration: float) -> Iterator[Row]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process keeps its first GL library
        renderer, rate = pool.apply(drawing.drawn_by, (gl_library, TASK, size, duration))
    yield {"renderer": renderer, "pixels": size, "pairs a second": rate}


def without(seconds: float, why: str) -> Iterator[Row]:
    """In the place of a part that is not measured here."""
    raise LeftOut(why)
    yield


def parts(quick: bool, compiling: processes.Started, since: float) -> list[Part]:
    """All of them, the most important first."""
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    cores: int = machine()["cores"]
    counts = [count for count in (1, 16, 8, 4, 2) if count <= cores]
    places = [("cpu", count) for count in counts]
    places.insert(2, ("cuda", 8))
    rounds, size, duration = (2, 64, 1.0) if quick else (5, 224, 3.0)
    sizes = [(2, 32, 2)] if quick else training_rate.SIZES

    def latencies(kind: str, dtype: str) -> Callable[[float], Iterator[Row]]:
        if kind == "pi05" and (quick or not gpu):  # it has one size
            return partial(without, why="4 billion weights: --quick" if quick else _NO_GPU)
        capture = cuda_graph if gpu else None
        return partial(vla, kind=kind, device=device, dtype=dtype, rounds=rounds, tiny=quick, capture=capture)

    return [
        Part("machine", 10, describe),
        Part("equality", 25, partial(equality, device=device) if gpu else partial(without, why=_NO_GPU)),
        Part("smolvla_bfloat16", 45, latencies("smolvla", "bfloat16")),
        Part("pi05_bfloat16", 50, latencies("pi05", "bfloat16")),
        Part("compile", 30, partial(compiled, compiling=compiling, since=since)),
        Part("episodes", 100, partial(episodes, task=TASK, places=places)),
        Part("training", 15, partial(training, sizes=sizes, graphs=cuda_graphs if gpu else None)),
        Part("smolvla_float32", 20, latencies("smolvla", "float32")),
        Part("pi05_float32", 30, latencies("pi05", "float32")),
        Part("drawing_egl", 20, partial(drawn, gl_library="egl", size=size, duration=duration)),
        Part("drawing_osmesa", 20, partial(drawn, gl_library="osmesa", size=size, duration=duration)),
    ]


def run(chosen: Sequence[Part], folder: Path, whole: float = WHOLE) -> dict[str, Row]:
    """Measure the parts in turn, `whole` seconds in all, and write gpu.json and gpu.md after each."""
    end = time.perf_counter() + whole
    found: dict[str, Row] = {}
    for part in chosen:
        found[part.name] = measured(part, min(part.seconds, end - time.perf_counter()))
        print(section(part.name, found[part.name]), flush=True)
        write_text(folder / "gpu.json", json.dumps(found, indent=1) + "\n")
        write_text(folder / "gpu.md", "".join(section(name, each) + "\n" for name, each in found.items()))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return found


def measured(part: Part, seconds: float) -> Row:
    """A part's rows, the seconds that it took, and why there are no more: `left_out` or `error`, else None."""
    rows: list[Row] = []
    begin = time.perf_counter()
    left_out = error = None
    try:
        with time_limit(seconds):
            for row in part.measure(seconds):
                rows.append(row)
    except LeftOut as reason:
        left_out = str(reason)
    except OutOfTime as end:
        traceback.print_exc()
        error = str(end)
    except Exception as failure:  # whatever it is, it is this part's alone
        traceback.print_exc()
        error = in_one_line(failure)
    return {"s": time.perf_counter() - begin, "rows": rows, "left_out": left_out, "error": error}


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so many seconds, and again every 10 as long as something waits for what was stopped.

    Raises LeftOut if there are none.
    """
    if seconds <= 0:
        raise LeftOut("the other parts have taken all the time")

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"{seconds:.1f} s are over")

    handler = signal.signal(signal.SIGALRM, stop)
    others, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 10.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, others)  # a test runner's, if any
        signal.signal(signal.SIGALRM, handler)


def section(name: str, found: Mapping[str, Any]) -> str:
    """A part in Markdown: a table of its rows, and what is lacking."""
    lines = [f"## {name} ({found['s']:.0f} s)", ""]
    if rows := found["rows"]:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += [_line(columns), _line(["---"] * len(columns))]
        lines += [_line([_cell(row.get(column)) for column in columns]) for row in rows]
        lines.append("")
    lines += [f"{what}: {found[key]}\n" for key, what in (("left_out", "Left out"), ("error", "Error")) if found[key]]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As an evaluation decides for small policies, and `sim-eval learn` fits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure a machine with a GPU.")
    parser.add_argument("out", type=Path, help="folder for gpu.json and gpu.md")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    since, compiling = time.time(), compile_in_background(given.out)
    try:
        run(parts(given.quick, compiling, since), given.out)
    finally:
        compiling.process.kill()
        compiling.process.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
