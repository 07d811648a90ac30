"""Episodes on a Ray cluster: the records of this process, whatever is lost on the way."""

from __future__ import annotations

import ast
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from sim_eval.commands.cli import read_command
from sim_eval.config.components import Component
from sim_eval.config.engine import Cluster, Workers
from sim_eval.evaluation.evaluate import evaluate_all
from sim_eval.evaluation.sweep import try_strengths
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.ray_engine import _short_folder
from sim_eval.rollout.start import open_engine, work_through
from sim_eval.runs.records import read
from sim_eval.runs.sweeps import Trial
from sim_eval.samplers.sampler import Models
from sim_eval.training.online import learn
from sim_eval.training.stages import run_stages
from sim_eval.training.trajectories import read_hdf5
from sim_eval.video.render import render
from tasks.task import Outcome, Task
from tests import test_learning, toy_run
from tests.drawing import drawing
from tests.ray_head import small_ray
from tests.test_records import comparable
from tests.toy_models import ToyCritic, ToyDenoiser, ToySampler
from tests.toy_task import ToyTask

HERE = Path(__file__).parent
ROOT = HERE.parent
CLUSTER, ONE = Cluster(workers=2), Cluster(workers=1)


@pytest.fixture(autouse=True, scope="module")
def cluster() -> Iterator[str]:
    """A small Ray of two workers; the commands join it. Gives the address of its head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_agent_register_timeout_ms", "300000")  # a busy machine starts Ray's own processes slowly
        patch.setenv("PYTHONPATH", str(ROOT))
        with small_ray() as address:
            ray.init(address, log_to_driver=False)
            yield address
            ray.shutdown()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return comparable(toy_run.run(tmp_path_factory.mktemp("here")))


@dataclass
class KillsOnce(ToyTask):
    """Kills its process in the third step of episode 5, as long as no file `killed` exists."""

    killed: str = ""

    def step(self, action: Any) -> Outcome:
        if self._key.episode == 5 and self._steps == 2 and not Path(self.killed).exists():
            Path(self.killed).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def test_records_are_those_of_this_process(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    assert comparable(toy_run.run(tmp_path, workers=CLUSTER)) == reference


def test_a_real_task_and_its_models_compute_the_same(tmp_path: Path) -> None:
    def run(name: str, *options: str) -> list[dict[str, Any]]:
        arguments = ["task=lift", "samplers=[unsteered,qpilots_u]", "episodes=3", f"output={tmp_path / name}", *options]
        settings = read_command("evaluate", arguments)
        return comparable(evaluate_all([settings]))

    assert run("there", "engine=ray", "workers=1") == run("here", "workers=0")


def test_the_users_own_files_travel(tmp_path: Path) -> None:
    """Neither task, policy nor sampler is looked for where it was."""
    own = tmp_path / "own"
    own.mkdir()
    for name in ("toy_task", "toy_models"):
        (own / f"{name}.py").write_text((ROOT / "tests" / f"{name}.py").read_text())
    task, policy = Component("toy", f"{own}/toy_task.py:ToyTask"), Component("toy", f"{own}/toy_models.py:ToyDenoiser")
    models, sampler = Models(policy.build(), ToyCritic()), Component("toy", f"{own}/toy_models.py:ToySampler").build()
    keys = episode_keys("toy", 0, 3)
    with open_engine(task.build, 0, batch=2) as engine:
        here = {episode.key: episode.actions.tobytes() for episode in engine.play(keys, sampler, models, "toy")}
    with open_engine(task.build, ONE, batch=2) as engine:
        for file in own.iterdir():
            file.rename(file.with_suffix(".moved"))
        there = {episode.key: episode.actions.tobytes() for episode in engine.play(keys, sampler, models, "toy")}
    assert there == here


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    make_task = functools.partial(KillsOnce, killed=str(tmp_path / "killed"))
    records = toy_run.run(tmp_path / "run", make_task=make_task, workers=CLUSTER)
    assert (tmp_path / "killed").exists()
    assert comparable(records) == reference
    assert len((tmp_path / "run" / "records.jsonl").read_text().splitlines()) == len(reference)


def test_an_episode_that_ends_every_worker_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its shard are played; a run without the cause plays it again."""
    monkeypatch.setattr("sim_eval.rollout.ray_scheduler.TRIES", 1)
    make_task = functools.partial(ToyTask, crash="kill", crash_in=(5,))
    toy_run.run(tmp_path, make_task=make_task, workers=ONE, samplers=("unsteered",), episodes=6, batch=3)
    errors = {record.episode: record.error for record in read(tmp_path)}
    assert errors.pop(5) == "its worker was lost 3 times"
    assert set(errors.values()) == {None}


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_a_run_whose_driver_ends_is_resumed(
    tmp_path: Path, cluster: str, reference: list[dict[str, Any]], ended_by: signal.Signals
) -> None:
    script = (
        "import functools\nimport signal\nfrom pathlib import Path\nfrom sim_eval.config.engine import Cluster\n"
        "from tests import toy_run\nfrom tests.toy_task import ToyTask\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        f"toy_run.run(Path({str(tmp_path)!r}), workers=Cluster(address={cluster!r}, workers=1), "
        "make_task=functools.partial(ToyTask, step_s=0.05))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    records = tmp_path / "records.jsonl"
    while not (records.exists() and records.stat().st_size) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(ended_by)
    process.wait()
    assert 0 < len(read(tmp_path)) < len(reference)
    assert comparable(toy_run.run(tmp_path)) == reference
    assert len(records.read_text().splitlines()) == len(reference)


def test_learning_gives_the_same_folder(tmp_path: Path) -> None:
    """The critic of each round reaches the workers."""
    here, there = (test_learning.settings(tmp_path / name, "steps=300") for name in ("here", "there"))
    learn(here)
    learn(replace(there, workers=CLUSTER))
    assert test_learning.learned(tmp_path / "there") == test_learning.learned(tmp_path / "here")


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ("demos", ["task=lift", "demos=2"]),
        ("rollouts", [f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser", "rollouts=4"]),
    ],
)
def test_training_data_are_the_same(tmp_path: Path, stage: str, options: list[str]) -> None:
    def collected(name: str, workers: Workers) -> list[bytes]:
        folders = [f"data={tmp_path / name}", f"checkpoints={tmp_path / name}"]
        settings = read_command("train", [*options, f"stage={stage}", *folders])
        run_stages(settings.stage, settings.workspace(), settings.recipe(), workers)
        (file,) = (tmp_path / name).rglob("*.hdf5")
        return [trajectory.actions.tobytes() for trajectory in read_hdf5(file)]

    assert collected("there", CLUSTER) == collected("here", 0)


def test_a_sweep_gives_the_same_trials(tmp_path: Path) -> None:
    models = [
        f"{role}={HERE}/toy_models.py:{name}" for role, name in (("policy", "ToyDenoiser"), ("critic", "ToyCritic"))
    ]
    asked = [f"task={HERE}/toy_task.py:ToyTask", *models, "sampler=best_of_n", "strengths=[1,3]", "episodes=6"]

    def trials(name: str, workers: Workers) -> tuple[Trial, ...]:
        settings = read_command("sweep", [*asked, "choose=false", f"results={tmp_path / name}"])
        return tuple(try_strengths(replace(settings, workers=workers)).trials)

    assert trials("there", CLUSTER) == trials("here", 0)


def test_videos_come_back_and_are_the_same(tmp_path: Path) -> None:
    run = tmp_path / "run"
    toy_run.run(run, episodes=2, samplers=("unsteered",))
    (run / "actions" / "unsteered" / "0001.npy").write_bytes(b"")
    made: dict[str, dict[str, bytes]] = {}
    places: dict[str, Workers] = {"here": 0, "there": ONE}
    for name, workers in places.items():
        rendered = render(replace(drawing(run, tmp_path / name, sheet=True), workers=workers), ToyTask)
        assert rendered.skipped == 1
        made[name] = {path.name: path.read_bytes() for path in rendered.paths}
    assert len(made["here"]) == 2
    assert made["there"] == made["here"]


def slow_if_even(task: Task, item: int) -> int:
    time.sleep(0.1 * (item % 2 == 0))
    return item


def test_work_comes_in_the_order_of_its_items() -> None:
    assert list(work_through(range(6), slow_if_even, ToyTask, CLUSTER)) == [0, 1, 2, 3, 4, 5]


def test_a_users_error_is_told_as_here(tmp_path: Path) -> None:
    class ColumnCritic(ToyCritic):
        def q(self, actions: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
            return super().q(actions, encoded)[:, None]

    models = Models(ToyDenoiser(), ColumnCritic())
    with pytest.raises(RunError, match=r"^the critic returned a Tensor \(8, 1\) as Q; accepted: a tensor \(8,\)"):
        toy_run.run(tmp_path, workers=ONE, models=models)


def test_what_cannot_travel_is_named() -> None:
    policy = ToyDenoiser()
    policy.lock = sys._getframe()  # type: ignore[attr-defined]
    with open_engine(ToyTask, CLUSTER, batch=2) as engine, pytest.raises(RunError, match=r"the policy cannot be sent"):
        next(iter(engine.play(episode_keys("toy", 0, 1), ToySampler(), Models(policy), "toy")))


def test_room_that_no_machine_has_is_refused() -> None:
    with pytest.raises(RunError, match=r"a worker needs ray\.cpus=1 and ray\.gpus=4, and no machine"):
        open_engine(ToyTask, Cluster(gpus=4), batch=2)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r'engine is ray, and Ray cannot be imported .*pip install "sim-eval\[ray\]"'):
        open_engine(ToyTask, CLUSTER, batch=2)


def test_an_address_where_nothing_listens_is_refused() -> None:
    script = (
        "from sim_eval.config.engine import Cluster\nfrom sim_eval.rollout.start import open_engine\n"
        "from tests.toy_task import ToyTask\nopen_engine(ToyTask, Cluster(address='127.0.0.1:9'), batch=2)\n"
    )
    failed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "RunError: ray.address is 127.0.0.1:9, and no cluster answers there" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["engine=dask"], "engine is dask; accepted: local, ray"),
        (["ray.gpus=1"], r"ray\.gpus is given, and engine is local; accepted with it: engine=ray"),
        (["engine=ray", "ray.address=ray://h:1"], r"ray\.address is ray://h:1; accepted: local, auto, HOST:PORT"),
        (["engine=ray", "workers=0"], "workers is 0; accepted with engine=ray: a whole number of at least 1"),
        (["engine=ray", "ray.cpus=0"], r"ray\.cpus is 0; accepted: a whole number of at least 1"),
        (["engine=ray", "ray.gpus=-1"], r"ray\.gpus is -1; accepted: a finite number of at least 0"),
        (["engine=ray", "ray.drawing=gpu"], r"ray\.drawing is gpu; accepted: cpu, the EGL number of a GPU, null"),
    ],
)
def test_a_bad_option_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_command("evaluate", ["task=lift", *arguments])


def test_options_become_a_cluster() -> None:
    arguments = ["engine=ray", "ray.address=10.0.0.1:6379", "ray.cpus=4", "ray.gpus=0.5", "ray.drawing=1", "workers=3"]
    settings = read_command("evaluate", ["task=lift", *arguments])
    assert settings.workers == Cluster(address="10.0.0.1:6379", workers=3, cpus=4, gpus=0.5, drawing="1")
    assert settings.stored()["engine"] == "ray"


def test_ray_is_imported_only_when_it_is_asked_for() -> None:
    """Only the files `ray_*` of the rollouts import it, and those are imported late."""
    parts = {f"sim_eval.rollout.{file.stem}" for file in (ROOT / "sim_eval/rollout").glob("ray_*.py")}
    assert parts
    for file in (ROOT / "sim_eval").rglob("*.py"):
        if file.stem.startswith("ray_"):
            continue
        for node in ast.parse(file.read_text()).body:
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            assert not names & {"ray", *parts}, file


def test_rays_sockets_have_short_paths_where_tmpdir_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert _short_folder() == {}
    monkeypatch.setenv("TMPDIR", f"/tmp/{'long/' * 20}")
    assert _short_folder() == {"_temp_dir": "/tmp/ray"}
