"""Run the samplers over paired episodes."""

from __future__ import annotations

import shlex
import sys

from sim_eval.evaluation.options import EvaluateOptions as Options

USAGE = "sim-eval evaluate [option=value ...]    e.g. sim-eval task=can samplers=unsteered,qpilots_u episodes=20"


def run(options: Options) -> int:
    from sim_eval import report
    from sim_eval.analysis.compare import compare
    from sim_eval.analysis.episode_selection import picked
    from sim_eval.evaluation.evaluate import evaluate_options, video_options
    from sim_eval.video import render

    samplers, make_task = options.build_samplers(), options.task.factory()
    print(f"output={options.output}", flush=True)
    try:
        records = evaluate_options(options, samplers, make_task)
        comparison = compare([options.output])
        print(report.terminal(comparison), flush=True)
        report.write(comparison, options.output)  # after the table, so that a full disk does not hide it
        print(f"\n{options.output / report.HTML}")
        rendered = render.render(video_options(options), make_task) if options.videos else render.Rendered([])
    except KeyboardInterrupt:
        print(f"\nthe same command with output={options.output} goes on from here", file=sys.stderr)
        raise
    if rendered.listed:
        report.write(compare([options.output]), options.output)  # once more, with the videos
    elif rescued := sorted(picked("rescued", [r for r in records if r.error is None], list(samplers))):
        watched = f"sim-eval render {shlex.quote(str(options.output))} episodes={rescued[0]} side_by_side=true"
        print(f"to watch an episode that fails unsteered and succeeds steered: {watched}")
    errors = sum(record.error is not None for record in records)
    if errors:
        print(f"{errors} episodes ended in an error; the same command with output={options.output} runs them again")
    return 1 if errors or rendered.skipped else 0
