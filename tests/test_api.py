"""The Python API: live objects and names, what a run folder keeps of them, and what is told about mistakes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch

import sim_eval
from sim_eval import RunError, TaskError
from sim_eval.runs.reader import read_run
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import ToyTask


class Swaying(sim_eval.Policy):
    """Random chunks of a given width: no weights, so that its width alone tells two of them apart."""

    request, horizon, execute, action_dim = sim_eval.ObservationRequest(("position",)), 4, 4, 2

    def __init__(self, width: float = 0.5) -> None:
        self.width = width

    def sample(self, observation: Any, generators: Any, copies: int = 1) -> torch.Tensor:
        noise = [torch.randn(4, 2, generator=generator) for generator in generators for _ in range(copies)]
        return self.width * torch.stack(noise)


class Still:
    """A sampler that is no dataclass."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, models: Any, observation: Any, generators: Any) -> torch.Tensor:
        return torch.zeros(len(generators), 4, 2)


def evaluate(output: Path, **options: Any) -> sim_eval.Run:
    task, policy = options.pop("task", ToyTask), options.pop("policy", Swaying())
    return sim_eval.evaluate(task, policy, **{"critic": "none", "episodes": 3, "output": output, **options})


def test_live_objects_are_run_described_and_read_back(tmp_path: Path) -> None:
    samplers = {
        "plain": sim_eval.Unsteered(steps=2),
        "value": sim_eval.ValueGuided(strength=0.5, steps=3),
        "still": Still(),
    }
    run = evaluate(tmp_path / "run", policy=ToyDenoiser(), critic=ToyCritic(), samplers=samplers)
    assert run.setting == ("toy", "ToyDenoiser")
    assert run.config["sampler"]["value"] == {
        "_target_": "sim_eval.samplers.value_guided.ValueGuided",
        "strength": 0.5,
        "steps": 3,
    }
    assert run.config["critic_options"] == {"nan_above": 9.0, "uses_features": False}
    frame = sim_eval.read_runs(run.folder)
    assert frame.groupby("sampler").size().to_dict() == {"plain": 3, "value": 3, "still": 3}
    assert (run.folder / "report.html").is_file()


def test_names_run_what_the_command_runs(tmp_path: Path) -> None:
    options: dict[str, Any] = {"samplers": ["unsteered", "qpilots_u"], "episodes": 1, "output": tmp_path / "run"}
    run = sim_eval.evaluate({"name": "libero_goal", "index": 0, "stepping": "fast"}, **options)
    assert run.setting == ("libero_goal", "flow")
    assert run.config["sampler"]["qpilots_u"]["strength"] > 0
    assert {record.sampler for record in run.records} == {"unsteered", "qpilots_u"}


def test_a_run_goes_on_with_the_same_objects_alone(tmp_path: Path) -> None:
    evaluate(tmp_path / "run")
    assert len(evaluate(tmp_path / "run", episodes=4).records) == 4
    with pytest.raises(RunError, match="policy"):
        evaluate(tmp_path / "run", policy=Swaying(0.7))


def test_runs_are_compared_and_drawn_later(tmp_path: Path) -> None:
    """From the run folder alone, which names the task's class."""
    folders = [evaluate(tmp_path / f"seed{seed}", seed=seed).folder for seed in (0, 1)]
    comparison = sim_eval.compare(*folders, output=tmp_path / "report")
    assert (tmp_path / "report/summary.json").is_file()
    assert comparison.compared is False
    (video,) = sim_eval.render(folders[0], output=tmp_path / "videos", videos=1, size=32)
    assert video.is_file()
    assert list(read_run(folders[0]).videos.values()) == [video]


def test_a_notebook_shows_a_run_and_a_comparison_as_tables(tmp_path: Path) -> None:
    """With the figures that the records have, and no markup from a name."""
    samplers = {"plain": sim_eval.Unsteered(steps=2), "still": Still()}
    run = evaluate(tmp_path / "<b>run", policy=ToyDenoiser(), samplers=samplers)
    shown = run._repr_html_()
    solved = sum(record.success for record in run.records if record.sampler == "plain")
    assert f"<td>plain</td><td>3</td><td>{round(100 * solved / 3)}</td><td>0</td>" in shown
    assert "&lt;b&gt;run: toy, ToyDenoiser" in shown
    comparison = sim_eval.compare(run.folder)
    comparison.warnings.append("a <script>")
    shown = comparison._repr_html_()
    assert shown.count("<table>") == 1
    assert "<td>still</td><td>3</td>" in shown
    assert "a &lt;script&gt;" in shown
    assert "<script>" not in shown


def test_a_task_made_with_options_is_made_again_with_them(tmp_path: Path) -> None:
    make_task = functools.partial(ToyTask, step_s=0.0)
    run = sim_eval.evaluate(make_task, Swaying(), "none", episodes=1, output=tmp_path / "run")
    assert run.config["task"] == {"name": "toy", "target": "tests.toy_task:ToyTask", "options": {"step_s": 0.0}}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"episodes": 0}, "episodes is 0; accepted: a whole number of at least 1"),
        ({"workers": -1}, "workers is -1"),
        ({"samplers": "best_of"}, "samplers is best_of; accepted: "),
        ({"samplers": {}}, "accepted: a list with at least one entry"),
        ({"samplers": ["best_of_n"]}, "critic is none, which sampler best_of_n needs"),
        ({"samplers": {"u": sim_eval.QPilotsU(1.0)}}, "sampler u needs a Denoiser, and policy Swaying is a Swaying"),
        ({"policy": ToyTask()}, "policy=tests.toy_task:ToyTask gave a ToyTask; accepted: a sim_eval.Policy"),
        ({"samplers": {"u": 3}}, "sampler u is 3; accepted: a Sampler"),
        ({"samplers": {"u": sim_eval.Unsteered}}, "accepted: a Sampler, such as sim_eval.Unsteered()"),
        ({"task": ToyTask()}, "task is a ToyTask; accepted: a name, a mapping, or what builds a Task"),
        ({"task": lambda: None}, "a NoneType was built; accepted: a Task"),
        ({"task": {}}, "task is {}; accepted: a mapping with a name"),
        ({"policy": ToyDenoiser(horizon=cast(int, "8"))}, "horizon is '8'; accepted: a whole number"),
        ({"critic": Swaying()}, "gave a Swaying; accepted: a sim_eval.Critic"),
    ],
)
def test_mistakes_end_before_anything_runs(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises((RunError, TaskError)) as error:
        evaluate(tmp_path / "run", **options)
    assert told in str(error.value)
    assert not (tmp_path / "run").exists()


def test_mistakes_in_rendering_and_reading_are_named(tmp_path: Path) -> None:
    run = evaluate(tmp_path / "run", episodes=1)
    for options, told in (({"size": 33}, "size is 33"), ({"colour": 1}, "unknown option colour")):
        with pytest.raises(RunError, match=told):
            sim_eval.render(run.folder, **options)
    with pytest.raises(RunError, match="is not a folder"):
        sim_eval.read_runs(tmp_path / "absent")
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        _ = sim_eval.evaluat
