"""The console commands. Heavy imports are deferred, so that `--help` and option errors are quick."""

from __future__ import annotations

import functools
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim_eval.errors import RunError

if TYPE_CHECKING:
    from sim_eval.analysis.compare import Comparison

Command = Callable[[Sequence[str]], int]
Entry = Callable[[], None]

_COMPARE = (
    "sim-eval-compare RUN [RUN ...] [FILE ...] [option=value ...]\n\n"
    "RUN: a run folder. FILE: LeRobot's eval_info.json or a result file of vla-eval, which cannot be paired.\n"
    "Writes report.html, report.md and summary.json; if all RUNs are folders of sim-eval-learn, their curves to\n"
    "report.html. How many episodes a difference needs, before a run: sim-eval-plan."
)


def command(usage: str, config: str, needs_argument: bool = False) -> Callable[[Command], Entry]:
    """Make a function a console entry point. `--help` prints usage and the options in configs/<config>.yaml.

    A user error ends with one line and status 2, an interruption with status 130. Any other exception is a defect and
    keeps its traceback.
    """

    def decorate(main: Command) -> Entry:
        @functools.wraps(main)
        def entry() -> None:
            arguments = sys.argv[1:]
            # matplotlib warns if it cannot cache its list of fonts in the home folder; nothing here needs that list.
            logging.getLogger("matplotlib").setLevel(logging.ERROR)
            asked = any(argument in ("-h", "--help") for argument in arguments)
            try:
                if "--version" in arguments:
                    print(_version())
                    status = 0
                elif asked or (needs_argument and not arguments):
                    print(_help(usage, config), file=sys.stdout if asked else sys.stderr)
                    status = 0 if asked else 2
                else:
                    status = main(arguments)
                sys.stdout.flush()
            except ValueError as error:
                if not _users(error):
                    raise
                print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
                status = 2
            except KeyboardInterrupt:
                print("interrupted; what was written is kept", file=sys.stderr)
                status = 130
            except BrokenPipeError:  # the reader of the output has closed it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                status = 1
            sys.exit(status)

        return entry

    return decorate


def _users(error: ValueError) -> bool:
    """Whether the error is the user's. Imports late, where an interruption is caught."""
    if isinstance(error, RunError):
        return True
    from policies.errors import PolicyError
    from tasks.task import TaskError

    return isinstance(error, PolicyError | TaskError)


def _version() -> str:
    from importlib.metadata import version

    return f"sim-eval {version('sim-eval')}"


def _help(usage: str, config: str) -> str:
    from sim_eval.config.compose import help_text

    return help_text(config, usage)


@command("sim-eval [option=value ...]      e.g. sim-eval task=can samplers=[unsteered,qpilots_u] episodes=20", "eval")
def evaluate(arguments: Sequence[str]) -> int:
    """Run the samplers over paired episodes."""
    from sim_eval import report
    from sim_eval.analysis.compare import compare
    from sim_eval.analysis.episode_selection import picked
    from sim_eval.config.tasks import task_factory
    from sim_eval.evaluation.evaluate import evaluate_settings, video_settings
    from sim_eval.evaluation.settings import build_samplers, read_settings
    from sim_eval.video import render

    settings = read_settings(arguments)
    samplers, make_task = build_samplers(settings), task_factory(settings.task)
    print(f"output={settings.output}", flush=True)
    try:
        records = evaluate_settings(settings, samplers, make_task)
        _report([settings.output], settings.output)
        rendered = render.render(video_settings(settings), make_task) if settings.videos else render.Rendered([])
    except KeyboardInterrupt:
        print(f"\nthe same command with output={settings.output} goes on from here", file=sys.stderr)
        raise
    if rendered.listed:
        report.write(compare([settings.output]), settings.output)  # once more, with the videos
    elif rescued := sorted(picked("rescued", [r for r in records if r.error is None], list(samplers))):
        watched = f"sim-eval-render {shlex.quote(str(settings.output))} episodes=[{rescued[0]}] side_by_side=true"
        print(f"to watch an episode that fails unsteered and succeeds steered: {watched}")
    errors = sum(record.error is not None for record in records)
    if errors:
        print(f"{errors} episodes ended in an error; the same command with output={settings.output} runs them again")
    return 1 if errors or rendered.skipped else 0


@command(_COMPARE, "compare", needs_argument=True)
def compare(arguments: Sequence[str]) -> int:
    """Compare the samplers or policies of run folders, and show what other harnesses found."""
    from sim_eval import report
    from sim_eval.analysis.compare import compare
    from sim_eval.analysis.verdict import verdict
    from sim_eval.report.settings import read_compare_settings

    settings = read_compare_settings(arguments)
    if any(map(_is_learned, settings.sources)):
        if settings.figures:
            raise RunError("figures is true; accepted for run folders, not for those of sim-eval-learn")
        return _curves(settings.sources, settings.output)
    comparison = compare(settings.sources, settings.described, settings.by, settings.reference)
    _write_report(comparison, settings.output)
    if settings.figures:
        print(f"{len(report.write_figures(comparison, settings.output))} figures in {settings.output / report.FIGURES}")
    if failed := verdict(comparison).having(settings.fail_if):
        print(f"fail_if={','.join(settings.fail_if)}: {'; '.join(map(str, failed))}", file=sys.stderr)
        return 1
    if not comparison.compared and all(run.foreign is None for run in comparison.runs):
        raise RunError("nothing is comparable: no two rows ran the same episode from the same start")
    return 0


@command("sim-eval-plan [option=value ...]    e.g. sim-eval-plan episodes=[100] differences=[0.1,0.2]", "plan")
def plan(arguments: Sequence[str]) -> int:
    """Say what a number of episodes can show, and how many a difference needs."""
    from sim_eval.report.plan import read_plan, said

    print("\n".join(said(read_plan(arguments))))
    return 0


def _is_learned(folder: Path) -> bool:
    from sim_eval.analysis.curves import is_learned

    return is_learned(folder)


def _curves(folders: Sequence[Path], output: Path) -> int:
    """The learning curves of sim-eval-learn's folders, which no other folders go with."""
    from sim_eval.analysis.curves import read_curves
    from sim_eval.report import learning_curves

    curves = read_curves(folders)
    print("\n".join(learning_curves.said(curves)), flush=True)
    print(f"\n{learning_curves.write(curves, output)}")
    return 0


def _report(folders: Sequence[Path], output: Path) -> None:
    from sim_eval.analysis.compare import compare

    _write_report(compare(folders), output)


def _write_report(comparison: Comparison, output: Path) -> None:
    from sim_eval import report

    print(report.terminal(comparison), flush=True)
    report.write(comparison, output)  # after the table, so that a full disk does not hide it
    print(f"\n{output / report.HTML}")


@command(
    "sim-eval-export RUN [RUN ...] [FILE ...] format=FORMAT output=FILE\n\n"
    "RUN: a run folder. FILE: LeRobot's eval_info.json or a result file of vla-eval.",
    "export",
    needs_argument=True,
)
def export(arguments: Sequence[str]) -> int:
    """Write runs as one file for other programs."""
    from sim_eval.report.export import export
    from sim_eval.report.export_settings import read_export_settings

    settings = read_export_settings(arguments)
    print("\n".join([*export(settings), str(settings.output)]))
    return 0


@command(
    "sim-eval-render DIR [option=value ...]    e.g. sim-eval-render runs/can videos=rescued side_by_side=true",
    "render",
    needs_argument=True,
)
def render(arguments: Sequence[str]) -> int:
    """Render recorded episodes, and write the run's report again with their videos."""
    from sim_eval import report
    from sim_eval.analysis.compare import compare
    from sim_eval.config.tasks import task_factory
    from sim_eval.runs.reader import read_run
    from sim_eval.video import render
    from sim_eval.video.settings import read_render_settings

    settings = read_render_settings(arguments)
    rendered = render.render(settings, task_factory(read_run(settings.folder).config["task"]))
    for path in rendered.paths:
        print(path)
    if rendered.kept:
        print(f"videos kept, as they exist already: {rendered.kept} (overwrite=true draws them again)")
    if not rendered.paths and not rendered.kept and not rendered.skipped:
        print(f"nothing to render: videos is {settings.videos}, and no episode in {settings.folder} is")
    if rendered.listed:
        report.write(compare([settings.folder]), settings.folder)
        print(settings.folder / report.HTML)
    return 1 if rendered.skipped else 0


@command(
    "sim-eval-sweep [option=value ...]    e.g. sim-eval-sweep task=can sampler=qpilots_u strengths=[0.3,0.6]", "sweep"
)
def sweep(arguments: Sequence[str]) -> int:
    """Try steering strengths on the tune block of keys."""
    from sim_eval.evaluation.sweep import choose_strengths, read_sweep_settings, try_strengths

    settings = read_sweep_settings(arguments)
    published = try_strengths(settings)
    print(settings.published)
    if settings.choose:
        best = choose_strengths(settings, published)
        print(f"chosen: {', '.join(f'{name} {strength:g}' for name, strength in best.items())}")
        if settings.steered:
            print(f"{settings.output}; sim-eval uses them with strengths={settings.output}")
    return 0


@command("sim-eval-probe [option=value ...]    e.g. sim-eval-probe task=can samplers=[qpilots_u]", "probe")
def probe(arguments: Sequence[str]) -> int:
    """Measure whether a critic can steer a frozen policy."""
    from sim_eval.probing.probe import probe
    from sim_eval.probing.settings import PROBE, read_probe_settings
    from sim_eval.report import probe_page
    from sim_eval.report.probe import said

    settings = read_probe_settings(arguments)
    found = probe(settings)
    print("\n".join(said(found)), flush=True)
    print(f"\n{settings.output / PROBE}\n{probe_page.write(found, settings.output)}")
    return 0


@command("sim-eval-learn [option=value ...]    e.g. sim-eval-learn task=can samplers=[qpilots_u]", "learn")
def learn(arguments: Sequence[str]) -> int:
    """Learn a critic while it steers the frozen policy."""
    from sim_eval.training.online import learn
    from sim_eval.training.online_settings import read_learn_settings

    settings = read_learn_settings(arguments)
    learn(settings)
    print(f"{settings.output}; sim-eval uses its critic with critic={settings.output}")
    return 0


@command("sim-eval-serve [option=value ...]    e.g. sim-eval-serve task=can samplers=[unsteered,qpilots_u]", "serve")
def serve(arguments: Sequence[str]) -> int:
    """Answer the decision requests of other programs until Ctrl-C."""
    from sim_eval.serving.server import serve
    from sim_eval.serving.settings import read_serve_settings

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    serve(read_serve_settings(arguments))
    return 0


@command("sim-eval-view DIR [option=value ...]    e.g. sim-eval-view runs", "view", needs_argument=True)
def view(arguments: Sequence[str]) -> int:
    """Show all run folders below a folder as a web page of this machine, until Ctrl-C."""
    from sim_eval.view.server import view
    from sim_eval.view.settings import read_view_settings

    view(read_view_settings(arguments))
    return 0


@command("sim-eval-train [option=value ...]    e.g. sim-eval-train task=can stage=all", "train")
def train(arguments: Sequence[str]) -> int:
    """Train the checkpoints of a task."""
    from sim_eval.training.settings import read_train_settings
    from sim_eval.training.stages import run_stages

    settings = read_train_settings(arguments)
    run_stages(settings.stages, settings.workspace, settings.recipe, settings.workers)
    return 0


@command(
    "sim-eval-train-vla [option=value ...]    e.g. sim-eval-train-vla variant=mini_vla_strong checkpoints=DIR",
    "train_vla",
)
def train_vla(arguments: Sequence[str]) -> int:
    """Train the small vision-language-action policy for all its tasks."""
    from sim_eval.training.vla import train_vla
    from sim_eval.training.vla_settings import read_vla_settings

    train_vla(read_vla_settings(arguments))
    return 0
