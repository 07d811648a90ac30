"""The commands. Only here do tasks, policies and critics meet; heavy imports wait until the options are read."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim_eval.errors import RunError
from tasks.task import TaskError

if TYPE_CHECKING:
    from sim_eval.render import RenderSettings
    from sim_eval.settings import Settings

Command = Callable[[Sequence[str]], int]

_EVALUATE = "sim-eval [option=value ...]      e.g. sim-eval task=can samplers=[unsteered,qpilots_u] episodes=20"
_COMPARE = (
    "sim-eval-compare RUN [RUN ...] [output=DIR]\n\n"
    "  writes report.html, report.md and summary.json into DIR, the first RUN's folder unless given"
)
_SWEEP = "sim-eval-sweep [option=value ...]    e.g. sim-eval-sweep task=can sampler=qpilots_u strengths=[0.3,0.6]"
_TRAIN = "sim-eval-train [option=value ...]    e.g. sim-eval-train task=can stage=all"
_RENDER = "sim-eval-render DIR [option=value ...]    e.g. sim-eval-render runs/can videos=rescued side_by_side=true"


def command(main: Command) -> Callable[[], None]:
    """A console entry point: user errors end with one line and status 2, an interruption with 130."""

    @functools.wraps(main)
    def entry() -> None:
        try:
            status = main(sys.argv[1:])
        except ValueError as error:
            if not _is_users(error):
                raise
            print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print(
                "interrupted; what was finished stays, and sim-eval with the same output goes on from there",
                file=sys.stderr,
            )
            status = 130
        sys.exit(status)

    return entry


def _is_users(error: ValueError) -> bool:
    """Whether the message is for the user; any other ValueError is this project's defect and keeps its traceback."""
    if isinstance(error, RunError | TaskError):
        return True
    from sim_eval.checkpoints import CheckpointError
    from sim_eval.demonstrations import DatasetError

    return isinstance(error, CheckpointError | DatasetError)


@command
def evaluate(arguments: Sequence[str]) -> int:
    """Run the samplers over paired episodes."""
    if _wants_help(arguments):
        from sim_eval.configuration import help_text

        print(help_text("eval", _EVALUATE))
        return 0
    from sim_eval.settings import read_settings

    settings = read_settings(arguments)
    print(f"output={settings.output}", flush=True)
    errors = _evaluate(settings)
    _report([settings.output], settings.output)
    if errors:
        print(f"{errors} episodes ended in an error; the same command with output={settings.output} runs them again")
    return 1 if errors else 0


def _evaluate(settings: Settings) -> int:
    """Assemble and run; the number of episodes that ended in an error."""
    import tasks
    from sim_eval import evaluate, render
    from sim_eval.checkpoints import ROOT, load_models
    from sim_eval.settings import build_samplers

    make_task = functools.partial(tasks.make, **settings.task)
    samplers = build_samplers(settings)
    needs = frozenset[str]().union(*(sampler.needs for sampler in samplers.values()))
    root = settings.checkpoints or ROOT
    models, hashes = load_models(settings.task_name, settings.policy, settings.critic, needs, root)
    if settings.videos:
        render.check_rendering(make_task, settings.task_name)
    records = evaluate.evaluate(settings, samplers, make_task, models, hashes)
    if settings.videos:
        render.render_missing(_videos(settings), make_task)
    return sum(record.error is not None for record in records)


def _videos(settings: Settings) -> RenderSettings:
    from sim_eval.render import RenderSettings, default_output

    return RenderSettings(
        folder=settings.output,
        output=default_output(settings.output),
        samplers=settings.samplers,
        videos=settings.videos,
        workers=settings.workers,
    )


@command
def compare(arguments: Sequence[str]) -> int:
    """Compare the samplers of one or more run folders."""
    if _wants_help(arguments) or not arguments:
        print(f"usage: {_COMPARE}", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    folders, output = _runs_and_output(arguments)
    if not _report(folders, output):
        raise RunError("nothing is comparable: no two samplers ran the same episode from the same start")
    return 0


def _runs_and_output(arguments: Sequence[str]) -> tuple[list[Path], Path]:
    """Run folders, and where their report goes. Raises RunError for any other option."""
    options = [argument for argument in arguments if "=" in argument and not Path(argument).is_dir()]
    folders = [Path(argument) for argument in arguments if argument not in options]
    for option in options:
        if not option.startswith("output=") or option == "output=" or len(options) > 1:
            raise RunError(f"{' '.join(options)} is not understood; accepted: run folders, and one output=DIR")
    if not folders:
        raise RunError(f"{options[0]} without a run folder; accepted: sim-eval-compare RUN [RUN ...] [output=DIR]")
    return folders, Path(options[0].removeprefix("output=")) if options else folders[0]


def _report(folders: Sequence[Path], output: Path) -> bool:
    # It would warn of a home that it cannot write to, where all it keeps is a list of fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from sim_eval import report
    from sim_eval.compare import compare

    comparison = compare(folders)
    print(report.terminal(comparison))
    report.write(comparison, output)
    print(f"\n{output / report.HTML}")
    return comparison.compared


@command
def render(arguments: Sequence[str]) -> int:
    """Render recorded episodes."""
    if _wants_help(arguments) or not arguments:
        from sim_eval.configuration import help_text

        print(help_text("render", _RENDER), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    import tasks
    from sim_eval import render
    from sim_eval.assets import with_recorded_assets
    from sim_eval.compare import load_run
    from sim_eval.render import read_render_settings

    settings = read_render_settings(arguments)
    make_task = functools.partial(tasks.make, **with_recorded_assets(load_run(settings.folder).config["task"]))
    paths = render.render(settings, make_task)
    for path in paths:
        print(path)
    if not paths:
        print(f"nothing to render: videos is {settings.videos}, and no episode in {settings.folder} is")
    return 0


@command
def sweep(arguments: Sequence[str]) -> int:
    """Try steering strengths on the tune block of keys."""
    if _wants_help(arguments):
        from sim_eval.configuration import help_text

        print(help_text("sweep", _SWEEP))
        return 0
    from sim_eval.sweep import read_sweep_settings

    settings = read_sweep_settings(arguments)
    settings.samplers()  # a refused field ends here, before any model loads
    import tasks
    from sim_eval import sweep
    from sim_eval.checkpoints import ROOT, load_models
    from sim_eval.workers import open_pool

    root = settings.checkpoints or ROOT
    needs = frozenset[str]().union(*(sampler.needs for sampler in settings.samplers().values()))
    models, _ = load_models(settings.task_name, settings.policy, settings.critic, needs, root)
    with open_pool(functools.partial(tasks.make, **settings.task), settings.workers, settings.batch) as pool:
        trials = sweep.sweep(settings, models, pool)
    for trial in trials:
        print(f"{trial.sampler} at {trial.strength:g}: {trial.successes}/{trial.episodes}, mean Q {trial.mean_q:.2f}")
    published = sweep.publish(settings, trials)
    if settings.choose:
        sweep.write_strengths(settings, published)
        print(f"chosen: {sweep.chosen(published)}")
    return 0


@command
def train(arguments: Sequence[str]) -> int:
    """Train the checkpoints of a task."""
    if _wants_help(arguments):
        from sim_eval.configuration import help_text

        print(help_text("train", _TRAIN))
        return 0
    from sim_eval.training.settings import read_train_settings
    from sim_eval.training.stages import run_stages

    settings = read_train_settings(arguments)
    run_stages(settings.stages, settings.shop, settings.recipe, settings.workers)
    return 0


def _wants_help(arguments: Sequence[str]) -> bool:
    return any(argument in ("-h", "--help") for argument in arguments)
