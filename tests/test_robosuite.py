"""The engine on real simulation: what the toy promises holds there too."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import tasks
from policies.chunk_policy import ChunkPolicy, PolicyConfig
from policies.observation import ObservationRequest
from sim_eval.commands.cli import read_command
from sim_eval.evaluation.evaluate import evaluate
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.evaluation.progress import Progress
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_key
from sim_eval.rollout.result import Cost
from sim_eval.runs.reader import read_run
from sim_eval.runs.records import Record, actions_path, record_of
from sim_eval.runs.run_folder import open_run
from sim_eval.samplers import Models, Unsteered
from sim_eval.video.render import render
from tasks import rendering
from tasks.task import TaskError
from tests.drawing import drawing

LIFT: MakeTask = functools.partial(tasks.make, "lift")


def settings(output: Path, *options: str) -> EvaluateOptions:
    return read_command("evaluate", ["task=lift", "samplers=[unsteered]", "episodes=2", f"output={output}", *options])


def run(asked: EvaluateOptions) -> list[Record]:
    """An untrained policy of the usual size."""
    torch.manual_seed(0)
    sizes = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 10}
    policy = ChunkPolicy(PolicyConfig("flow", sizes, action_dim=7)).requires_grad_(False)
    torch.nn.init.normal_(policy.network.output.weight, 0.0, 0.02)
    with Progress(asked.episodes) as progress:
        found = evaluate(asked, {"unsteered": Unsteered(steps=3)}, LIFT, Models(policy), progress)
    untimed = [
        dataclasses.replace(record, wall_s=0.0, cost=dataclasses.replace(record.cost, decision_ms=None))
        for record in found
    ]
    return sorted(untimed, key=lambda record: record.episode)


def test_records_do_not_depend_on_workers_or_batch(tmp_path: Path) -> None:
    alone = run(settings(tmp_path / "alone", "workers=0", "batch=1"))
    assert [record.error for record in alone] == [None, None]
    assert alone[0].state_hash != alone[1].state_hash
    assert run(settings(tmp_path / "beside", "workers=2", "batch=8")) == alone
    for record in alone:
        first, second = (actions_path(tmp_path / name, "unsteered", record.episode) for name in ("alone", "beside"))
        assert first.read_bytes() == second.read_bytes()


@pytest.fixture(scope="module")
def expert_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that holds one recorded episode, the scripted expert's."""
    path = tmp_path_factory.mktemp("expert")
    task, key = LIFT(), episode_key("lift", 0, 0)
    expert = tasks.expert("lift", np.random.default_rng(0))
    request = ObservationRequest(tasks.EXPERT_OBSERVATIONS)
    task.reset(key)
    start, actions, outcome = task.state_hash(), [], None
    expert.reset(task.observe(request))
    while outcome is None or not outcome.done:
        actions.append(np.asarray(expert.act(task.observe(request)), np.float32))
        outcome = task.step(actions[-1])
    task.close()
    assert outcome.success
    episode = Episode(
        key=key,
        state_hash=start,
        success=True,
        steps=len(actions),
        error=None,
        wall_s=1.0,
        decisions=1,
        execute=len(actions),
        cost=Cost(policy_rows=0, critic_rows=0, posterior_rows=0, decision_ms=1.0),
        mean_q=None,
        q=None,
        actions=np.stack(actions),
    )
    with open_run(path, settings(path, "episodes=1").stored(), {}) as folder:
        folder.append(record_of(episode, "flow", "unsteered", None), episode.actions)
    return path


@pytest.mark.parametrize("camera", ["agentview", "robot0_eye_in_hand"])
def test_a_recorded_success_renders_to_a_success(expert_run: Path, tmp_path: Path, camera: str) -> None:
    (video,) = render(drawing(expert_run, tmp_path, every=20, camera=camera), LIFT).paths
    frames = iio.imread(video, plugin="FFMPEG").astype(int)
    green = (frames[..., 1] - frames[..., [0, 2]].max(-1) > 60).sum((1, 2))
    assert green[-1] > max(60, 4 * green[0]), "the last picture is framed"
    assert read_run(expert_run).videos["unsteered", 0].samefile(video)


def test_an_unknown_camera_is_named(expert_run: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"camera is 'front'; accepted: agentview"):
        render(drawing(expert_run, tmp_path, camera="front"), LIFT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("imported", ["torch", "numpy"])
def test_triton_is_loaded_before_mesa_if_torch_is(tmp_path: Path, imported: str) -> None:
    """Loaded after Mesa it crashes, for both bring LLVM. A package in its place says which libraries there were."""
    (tmp_path / "triton.py").write_text(
        "MESA = any('libgallium' in line or 'LLVM' in line for line in open('/proc/self/maps'))"
    )
    program = (
        f"import sys, {imported}\n"
        "from sim_eval.installation.drawing import draw\n"
        "draw()\n"
        "print(sys.modules['triton'].MESA if 'triton' in sys.modules else None)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:."},
    )
    assert (found.stdout, found.stderr) == ("False\n" if imported == "torch" else "None\n", "")


@pytest.mark.parametrize("missing", [("libEGL", "libOSMesa"), ("libOpenGL", "libGL.", "libGLESv2", "libOSMesa")])
def test_a_missing_gl_library_is_told(
    missing: tuple[str, ...], expert_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ctypes.CDLL

    def load_others(name: str | None, *arguments: Any, **options: Any) -> ctypes.CDLL:
        if name is not None and name.startswith(missing):
            raise OSError(f"{name}: cannot open shared object file")
        return load(name, *arguments, **options)

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load_others)
    monkeypatch.setattr(rendering, "_SHARED", {})  # another test of this process may have opened a context
    with pytest.raises(TaskError, match=rf"no GL library can draw frames \(egl: {missing[-2]}.*; osmesa: libOSMesa"):
        render(drawing(expert_run, tmp_path), LIFT)
