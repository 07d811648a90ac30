"""The Python API: what the commands do, for scripts and notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critics.critic import Critic
from policies.policy import Denoiser, Policy, Posterior
from sim_eval import report
from sim_eval.analysis import records_frame
from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.compare import compare as compare_folders
from sim_eval.config.compose import compose
from sim_eval.config.models import read_models
from sim_eval.config.strengths import SHIPPED, read_strengths, with_strength
from sim_eval.config.tasks import check_task, task_factory, task_name
from sim_eval.evaluation.evaluate import evaluate as run_samplers
from sim_eval.evaluation.samplers import build_sampler, read_samplers
from sim_eval.evaluation.settings import Settings, check_tuned, default_output
from sim_eval.models import build_models
from sim_eval.resources import resource
from sim_eval.rollout.environment import MakeTask
from sim_eval.runs.reader import Run, read_run
from sim_eval.samplers.sampler import Sampler
from sim_eval.video.render import render as render_run
from sim_eval.video.settings import RenderSettings

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    task: str | Mapping[str, Any] | MakeTask,
    policy: str | Policy | Denoiser = "flow",
    critic: str | Critic = "default",
    posterior: str | Posterior = "default",
    samplers: Sequence[str] | Mapping[str, Sampler] = ("unsteered",),
    *,
    episodes: int = 50,
    seed: int = 0,
    workers: int = 0,
    batch: int = 8,
    output: str | Path | None = None,
    checkpoints: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """Run the samplers over the same episodes and write their report; the run folder as read back.

    task: a name ("can"), a mapping of options ({"name": "libero_goal", "index": 7}), or whatever builds a `Task`; with
        `workers` that has to pickle. policy, critic, posterior: a name, "./file.py:build", or the object itself;
        critic="none" for none. samplers: names, or samplers by the name that the report gives them. output: the run
        folder, resumed if it exists; None: runs/<task>-<policy>-<time>.

    Raises RunError and TaskError for whatever does not fit, before anything runs.
    """
    options, make_task = _task(task)
    place = None if checkpoints is None else str(checkpoints)
    chosen = {"policy": policy, "critic": critic, "posterior": posterior, "checkpoints": place, "device": device}
    models_read = read_models({**chosen, "passed_on": {}}, task_name(options))
    label = models_read["policy"].label
    configs, tuned = _samplers(samplers, task_name(options), label)
    settings = Settings(
        **models_read,
        task=options,
        samplers=tuple(configs),
        sampler=configs,
        tuned=tuned,
        episodes=episodes,
        seed=seed,
        block="eval",
        workers=min(workers, batch),
        batch=batch,
        videos=0,
        log="none",
        output=default_output(task_name(options), label) if output is None else Path(output),
    )
    built = (
        dict(samplers)
        if isinstance(samplers, Mapping)
        else {name: build_sampler(name, configs[name]) for name in configs}
    )
    needs = frozenset[str]().union(*(sampler.needs for sampler in built.values()))
    models = build_models(
        settings.task_name,
        settings.policy,
        settings.critic,
        settings.posterior,
        needs,
        settings.checkpoints or resource("checkpoints"),
        device,
    )
    check_tuned(settings, models.fingerprints)
    run_samplers(settings, built, make_task, models)
    compare(settings.output)
    return read_run(settings.output)


def read_runs(*folders: str | Path) -> pd.DataFrame:
    """A row for every recorded episode of the run folders; see `records_frame` for the columns."""
    return records_frame([read_run(Path(folder)) for folder in folders])


def compare(*folders: str | Path, output: str | Path | None = None) -> Comparison:
    """Compare the samplers of run folders, and write report.html, report.md and summary.json into `output`.

    By default that is the first folder. Raises RunError for what is no run folder.
    """
    comparison = compare_folders([Path(folder) for folder in folders])
    report.write(comparison, Path(folders[0] if output is None else output))
    return comparison


def render(folder: str | Path, output: str | Path | None = None, **options: Any) -> list[Path]:
    """Draw videos of recorded episodes into `output`, by default videos/<run>; the files made.

    `options`: the fields of `RenderSettings`, such as videos="rescued", side_by_side=True or size=384.
    """
    run = read_run(Path(folder))
    place = Path("videos") / run.folder.resolve().name if output is None else Path(output)
    settings = RenderSettings(folder=run.folder, output=place, **options)
    return list(render_run(settings, task_factory(run.config["task"])).paths)


def _task(task: str | Mapping[str, Any] | MakeTask) -> tuple[dict[str, Any], MakeTask]:
    """The task's options, as a run folder stores them, and what builds it."""
    if callable(task):
        probe = task()
        name = probe.spec.name
        probe.close()
        target = f"{getattr(task, '__module__', 'unknown')}:{getattr(task, '__qualname__', type(task).__qualname__)}"
        return {"name": name, "target": target, "options": {}}, task
    options = {"name": task} if isinstance(task, str) else dict(task)
    composed = compose(
        "eval", [f"task={options.pop('name')}", *(f"task.{name}={value}" for name, value in options.items())]
    )
    check_task(composed["task"])
    return composed["task"], task_factory(composed["task"])


def _samplers(
    samplers: Sequence[str] | Mapping[str, Sampler], task: str, policy: str
) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...]]:
    """The samplers' configurations, and which of them take a tuned strength."""
    if isinstance(samplers, Mapping):
        return {name: _described(sampler) for name, sampler in samplers.items()}, ()
    configs = read_samplers(compose("eval", [f"samplers=[{','.join(samplers)}]"]))
    table = read_strengths(SHIPPED, task, policy)
    filled = {
        name: with_strength(name, config, table, f"task={task} policy={policy}") for name, config in configs.items()
    }
    return {name: config for name, (config, _) in filled.items()}, tuple(
        name for name, (_, from_table) in filled.items() if from_table
    )


def _described(sampler: Sampler) -> dict[str, Any]:
    """What the run folder keeps of a sampler, a dataclass: its class and its fields."""
    kind: Any = type(sampler)
    fields = {field.name: getattr(sampler, field.name) for field in dataclasses.fields(kind)}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **fields}
