"""Render recorded episodes, and write the run's report again with their videos."""

from __future__ import annotations

from sim_eval.video.options import RenderOptions as Options

USAGE = "sim-eval render DIR [option=value ...]    e.g. sim-eval render runs/can videos=rescued side_by_side=true"


def run(options: Options) -> int:
    from sim_eval.analysis.compare import compare
    from sim_eval.report import comparison as report
    from sim_eval.runs.reader import read_run
    from sim_eval.video import render

    rendered = render.render(options, read_run(options.folder).task.factory())
    for path in rendered.paths:
        print(path)
    if rendered.kept:
        print(f"videos kept, as they exist already: {rendered.kept} (overwrite=true draws them again)")
    if not rendered.paths and not rendered.kept and not rendered.skipped:
        print(f"nothing to render: videos is {options.videos}, and no episode in {options.folder} is")
    if rendered.listed:
        report.write(compare([options.folder]), options.folder)
        print(options.folder / report.HTML)
    return 1 if rendered.skipped else 0
