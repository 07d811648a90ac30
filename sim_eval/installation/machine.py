"""Checks of the machine: what draws, encodes, computes and stores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sim_eval.foundation.machine import machine
from sim_eval.installation.check import Check
from tasks.task import TaskError

_DRAW = "import sys; sys.path[:] = {path!r}; from sim_eval.installation.drawing import draw; print(draw())"
#: Seconds after which drawing one small picture has failed.
_PATIENCE_S = 120
#: Below these, GB, a run of normal size may fail.
_LEAST_DISK, _LEAST_MEMORY = 2.0, 4.0
_GB = 1e9


def gl_check() -> Check:
    """Whether a picture can be drawn. Videos and policies that see pictures need it, others do not."""
    chosen = f"MUJOCO_GL={os.environ['MUJOCO_GL']}" if "MUJOCO_GL" in os.environ else "MUJOCO_GL unset"
    advice = "videos and policies that see pictures need it"
    command = [sys.executable, "-c", _DRAW.format(path=sys.path)]
    try:
        drawn = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Check("missing", "gl", f"no picture within {_PATIENCE_S} s ({chosen})", advice)
    if drawn.returncode < 0:
        return Check("missing", "gl", f"drawing ended with signal {-drawn.returncode} ({chosen})", advice)
    if drawn.returncode:
        last = drawn.stderr.strip().splitlines()[-1].removeprefix("tasks.task.TaskError: ")
        return Check("missing", "gl", f"{last} ({chosen})", advice)
    return Check("ok", "gl", f"{drawn.stdout.strip().splitlines()[-1]} ({chosen})")


def ffmpeg_check() -> Check:
    """The program that encodes videos, which the package imageio-ffmpeg brings."""
    advice = "videos need it: pip install --force-reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE"
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]

        program = imageio_ffmpeg.get_ffmpeg_exe()
        told = subprocess.run(
            [program, "-version"], capture_output=True, encoding="utf-8", errors="replace", check=True
        )
    except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:  # RuntimeError: none found
        return Check("missing", "ffmpeg", str(error), advice)
    return Check("ok", "ffmpeg", f"{' '.join(told.stdout.split()[:3])}, {program}")


def gpu_check() -> Check:
    """The GPUs that torch finds, and what device=auto chooses."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of torch's own libraries
        return Check("missing", "gpu", f"torch cannot be imported: {error}", 'pip install "torch>=2.6"', required=True)
    auto = "device=auto: cuda for policies of other code" if torch.cuda.is_available() else "device=auto: cpu"
    driver = _driver()
    if torch.cuda.is_available():
        every = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{found.name} {found.total_memory / _GB:.0f} GB" for found in every)
        return Check("ok", "gpu", f"{names}, driver {driver or 'unknown'}, CUDA {torch.version.cuda}; {auto}")
    if driver:
        built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
        advice = "install a build of torch for this driver to use it"
        return Check("warning", "gpu", f"driver {driver}, and torch finds no GPU ({built}); {auto}", advice)
    return Check("ok", "gpu", f"none; {auto}")


def _driver() -> str | None:
    """The NVIDIA driver's release; None without a driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return found[0] if found else None


def simulator_check() -> Check:
    """Whether robosuite can be imported as tasks import it, without GL. All tasks of the suite are built with it."""
    from tasks.robosuite_import import load_robosuite

    try:
        package = load_robosuite()
    except (ImportError, OSError, TaskError) as error:
        return Check("missing", "simulator", str(error), "install the packages that it lacks, see above", required=True)
    return Check("ok", "simulator", f"robosuite {package.__version__} can be imported")


def compiler_check() -> Check:
    """Whether the fast control step can be compiled, and its compilation be kept. Call `simulator_check` before."""
    advice = "set NUMBA_CACHE_DIR to a folder that can be written, or run with task.stepping=stock"
    try:
        from tasks import osc
    except ImportError as error:  # numba says so of a numpy that is too new
        return Check(
            "missing", "compiler", str(error), "install the numba, numpy and mujoco that fit, see above", required=True
        )
    except RuntimeError as error:  # numba finds no folder for its cache
        return Check("missing", "compiler", str(error), advice, required=True)
    cache = Path(str(osc.advance.stats.cache_path))
    if not os.access(_existing(cache), os.W_OK) and not osc.is_compiled():
        return Check("warning", "compiler", f"{cache} cannot be written: each process compiles a minute", advice)
    state = "is compiled" if osc.is_compiled() else "compiles at the first run, about a minute"
    return Check("ok", "compiler", f"the fast control step {state}; cache in {cache}")


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def disk_check() -> Check:
    """The free space of the current folder, where runs are written."""
    free = shutil.disk_usage(Path.cwd()).free / _GB
    found = f"{free:.1f} GB free in {Path.cwd()}"
    if free < _LEAST_DISK:
        return Check(
            "warning", "disk", found, f"runs with videos may need {_LEAST_DISK:g} GB: free some, or output=DIR"
        )
    return Check("ok", "disk", found)


def cores_check() -> Check:
    """Cores, memory, and whether other programs keep the cores busy."""
    here, load = machine(), os.getloadavg()[0]
    found = f"{here['cores']} cores ({here['processor']}), load {load:.1f}, {here['memory_gb']} GB"
    if here["memory_gb"] < _LEAST_MEMORY:
        return Check("warning", "machine", found, "run with workers=1 and a small batch")
    if load > here["cores"]:
        return Check("warning", "machine", found, "other programs compete for the cores: timings tell little")
    return Check("ok", "machine", found)
