"""The Python API: what the commands do, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critics.critic import Critic
from policies.policy import Denoiser, Policy, Posterior
from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.compare import compare as compare_folders
from sim_eval.config.options import Choice, from_values
from sim_eval.evaluation.evaluate import evaluate_all
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.foundation.errors import RunError
from sim_eval.report import comparison as report
from sim_eval.rollout.environment import MakeTask
from sim_eval.runs.foreign import described
from sim_eval.runs.outputs import check_report, report_folder
from sim_eval.runs.reader import Run, read_run, records_frame
from sim_eval.samplers.sampler import Sampler
from sim_eval.video.options import RenderOptions
from sim_eval.video.render import render as render_run

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    task: str | Mapping[str, Any] | MakeTask,
    policy: str | Policy | Denoiser = "flow",
    critic: str | Critic | None = "default",
    posterior: str | Posterior = "default",
    samplers: Sequence[str] | Mapping[str, Sampler] = ("unsteered",),
    *,
    episodes: int = 50,
    until: str = "episodes",
    seed: int = 0,
    workers: int = 0,
    batch: int | None = None,
    output: str | Path | None = None,
    checkpoints: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """Run the samplers over the same episodes, write the report, and return the run as read from its folder.

    task: a name ("can"), options ({"name": "libero_goal", "index": 7}), or a callable that builds a `Task`, which must
        pickle if `workers` is not 0.
    policy, critic, posterior: a name, "./file.py:build", or the object itself; critic=None runs without a critic.
    samplers: names, or samplers by the name that the report gives them.
    until: "episodes", or "decided": each sampler stops, after `episodes` at the latest, when it is told from the
        baseline.
    workers: worker processes; 0: everything in this process.
    batch: episodes that run at the same time, with many workers in each; None: 8, and fewer with many workers.
    output: the run folder, resumed if it exists; None: runs/<task>-<policy>-<time>.
    device: "auto", "cpu" or "cuda".

    Raises RunError or TaskError, before anything runs, if options, models and task do not fit together.
    """
    _check_kinds(task, samplers)
    named = dict(task) if isinstance(task, Mapping) else {}
    built = samplers if isinstance(samplers, Mapping) else None
    options = from_values(
        EvaluateOptions,
        task=Choice(named.pop("name"), named) if isinstance(task, Mapping) else Choice(task),
        policy=policy,
        critic=critic,
        posterior=posterior,
        samplers=(samplers,) if isinstance(samplers, str) else tuple(samplers),
        sampler=Choice(built),
        episodes=episodes,
        until=until,
        seed=seed,
        workers=workers,
        output=output,
        checkpoints=checkpoints,
        device=device,
        **({} if batch is None else {"batch": batch}),
    )
    evaluate_all([options], built)
    compare(options.output)
    return read_run(options.output)


def _check_kinds(task: object, samplers: object) -> None:
    """Raise RunError if `evaluate` got an object of the wrong kind."""
    if isinstance(task, Mapping):
        if "name" not in task:
            raise RunError(f"task is {dict(task)}; accepted: a mapping with a name, such as {{'name': 'can'}}")
    elif not (isinstance(task, str) or callable(task)):
        raise RunError(f"task is a {type(task).__name__}; accepted: a name, a mapping, or what builds a Task")
    for name, sampler in samplers.items() if isinstance(samplers, Mapping) else ():
        if isinstance(sampler, type) or not callable(sampler) or not hasattr(sampler, "needs"):
            raise RunError(f"sampler {name} is {sampler!r}; accepted: a Sampler, such as sim_eval.Unsteered()")


def read_runs(*folders: str | Path) -> pd.DataFrame:
    """One row per recorded episode of the run folders; see `records_frame` for the columns. Raises RunError."""
    return records_frame([read_run(Path(folder)) for folder in folders])


def compare(
    *folders: str | Path,
    output: str | Path | None = None,
    policy: str = "unknown",
    sampler: str = "unsteered",
    by: str | None = None,
    reference: str | None = None,
) -> Comparison:
    """Compare the rows of run folders, and write report.html, report.md and summary.json into `output`.

    folders: result files of LeRobot and vla-eval, too; what they hold cannot be paired and has rows of its own.
    output: a folder; None: the first run folder. policy, sampler: what such files evaluated, and what drew the actions.

    by: "sampler", "policy" for policies, checkpoints and options, None for what finds pairs. reference: label of the
        row that the others are compared with.

    Raises RunError for a folder that is not a run's, a file of another program, an unknown row, and an output that
    would replace what is read or another run's report.
    """
    sources = [Path(folder) for folder in folders]
    place = report_folder(sources) if output is None else Path(output)
    check_report("output", place, sources)
    comparison = compare_folders(sources, described(policy, sampler), by, reference)
    report.write(comparison, place)
    return comparison


def render(folder: str | Path, **options: Any) -> list[Path]:
    """Draw videos of recorded episodes, list them in the run's report, and return the files drawn.

    options: those of `sim-eval render --help`, such as videos="rescued", side_by_side=True, output=DIR. Raises RunError
    and TaskError as `sim_eval.video.render.render`.
    """
    asked = from_values(RenderOptions, folder=Path(folder), **options)
    rendered = render_run(asked, read_run(asked.folder).task.factory())
    if rendered.listed:
        compare(asked.folder)
    return list(rendered.paths)
