"""Run the samplers over paired episodes, on one task or several."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim_eval.evaluation.options import EvaluateOptions as Options
from sim_eval.evaluation.suite import Suite, read_evaluation

if TYPE_CHECKING:
    from sim_eval.analysis.compare import Comparison

USAGE = (
    "sim-eval evaluate [option=value ...]    e.g. sim-eval task=can samplers=unsteered,qpilots_u episodes=20\n\n"
    "Several tasks: task=lift,can, task=six for the main ones, task=libero_goal task.index=all or 0-4,7. Their\n"
    "folders lie in one, with one report and the mean over tasks."
)


#: How the arguments are read, for they may name several tasks.
read = read_evaluation


def run(asked: Options | Suite) -> int:
    from sim_eval.analysis.compare import compare
    from sim_eval.evaluation.evaluate import evaluate_all
    from sim_eval.report import comparison as report

    runs = asked.runs if isinstance(asked, Suite) else (asked,)
    folders = [options.output for options in runs]
    print(f"output={asked.output}", flush=True)
    try:
        records = evaluate_all(runs)
        comparison = compare(folders)
        print(report.terminal(comparison), flush=True)
        report.write(comparison, asked.output)  # after the table, so that a full disk does not hide it
        print(f"\n{asked.output / report.HTML}")
        skipped = _rendered(asked, runs, comparison)
    except KeyboardInterrupt:
        print(f"\nthe same command with output={asked.output} goes on from here", file=sys.stderr)
        raise
    errors = sum(record.error is not None for record in records)
    if errors:
        print(f"{errors} episodes ended in an error; the same command with output={asked.output} runs them again")
    return 1 if errors or skipped else 0


def _rendered(asked: Options | Suite, runs: Sequence[Options], comparison: Comparison) -> int:
    """Render the videos that were asked for, or say how to; returns how many episodes cannot be replayed."""
    from sim_eval.analysis.compare import compare
    from sim_eval.evaluation.evaluate import video_options
    from sim_eval.report import comparison as report
    from sim_eval.video.render import render

    if not runs[0].videos:
        _suggest(runs, comparison)
        return 0
    rendered = [render(video_options(options), options.task.factory()) for options in runs]
    if any(videos.listed for videos in rendered):
        folders = [options.output for options in runs]
        report.write(compare(folders), asked.output)  # once more, with the videos
    return sum(videos.skipped for videos in rendered)


def _suggest(runs: Sequence[Options], comparison: Comparison) -> None:
    """Say how to watch an episode that steering rescues, if there is one."""
    from sim_eval.video.picks import picked

    for options, run in zip(runs, comparison.runs, strict=True):
        good = [record for record in run.records if record.error is None]
        if rescued := sorted(picked("rescued", good, list(options.sampler))):
            watched = f"sim-eval render {shlex.quote(str(options.output))} episodes={rescued[0]} side_by_side=true"
            print(f"to watch an episode that fails unsteered and succeeds steered:\n{watched}")
            return
