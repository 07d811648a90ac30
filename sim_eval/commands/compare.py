"""Compare the samplers or policies of run folders, and show what other harnesses found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.options import Given, option
from sim_eval.foundation.errors import RunError
from sim_eval.runs.design import Design, read_design
from sim_eval.runs.foreign import Described, described
from sim_eval.runs.outputs import check_report, report_folder

USAGE = (
    "sim-eval compare RUN [RUN ...] [FILE ...] [option=value ...]\n\n"
    "RUN: a run folder. FILE: LeRobot's eval_info.json or a result file of vla-eval, which cannot be paired.\n"
    "Writes report.html, report.md and summary.json; if all RUNs are folders of sim-eval learn, their curves to\n"
    "report.html. How many episodes a difference needs, before a run: sim-eval plan."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the samplers or policies of run folders. `sources`: run folders and files of other harnesses."""

    sources: tuple[Path, ...]
    output: Path = option(
        None,
        "folder of the report; null: the first RUN's, or where the first FILE is",
        kind="Path | None",
    )
    policy: str = option(
        "unknown", "what the FILEs evaluated, for they do not say; the same name as a RUN's puts both into one table"
    )
    sampler: str = option("unsteered", "what drew the actions of the FILEs")
    by: str | None = option(
        None,
        "sampler: what a run's samplers do for its policy; policy: policies, checkpoints and options, each row against "
        "one reference; null: sampler, or policy where only that finds pairs",
        choices=("sampler", "policy"),
    )
    reference: str | None = option(None, "label of the row that the others are compared with")
    fail_if: tuple[str, ...] = option(
        (),
        "verdicts on a row that make the exit status 1: better, worse, cannot tell, not comparable; better and worse "
        "hold after the correction",
    )
    design: Design | None = option(
        None,
        "file that fixed the study, as for sim-eval evaluate: the report says whether the runs kept it; null: the one "
        "that they were made with, if they are all its runs",
        kind="Path | None",
    )
    figures: bool = option(False, "also write every figure of the report as an SVG file into output/figures")

    @staticmethod
    def resolve(given: Given) -> None:
        if not given["sources"]:
            raise RunError("there is no run to compare; accepted: sim-eval compare RUN [RUN ...] [output=DIR]")
        described(given["policy"], given["sampler"])
        if given["fail_if"]:
            from sim_eval.analysis.verdict import read_fail_if  # loads SciPy

            given["fail_if"] = read_fail_if(given["fail_if"])
        given["design"] = given["design"] and read_design(given["design"])
        given["output"] = given["output"] or report_folder(given["sources"])
        check_report("output", given["output"], given["sources"])

    @property
    def described(self) -> Described:
        """Names for what other harnesses' files do not say."""
        return described(self.policy, self.sampler)


def run(options: Options) -> int:
    from sim_eval.analysis.compare import compare
    from sim_eval.analysis.curves import folders_of, is_learned
    from sim_eval.analysis.verdict import verdict
    from sim_eval.report import comparison as report

    sources = tuple(folder for source in options.sources for folder in folders_of(source))
    if any(map(is_learned, sources)):
        for name in ("figures", "design"):
            if getattr(options, name):
                raise RunError(f"{name} is given; accepted for run folders, not for those of sim-eval learn")
        return _show_curves(options, sources)
    comparison = compare(options.sources, options.described, options.by, options.reference, options.design)
    print(report.terminal(comparison), flush=True)
    report.write(comparison, options.output)  # after the table, so that a full disk does not hide it
    print(f"\n{options.output / report.HTML}")
    if options.figures:
        print(f"{len(report.write_figures(comparison, options.output))} figures in {options.output / report.FIGURES}")
    if failed := verdict(comparison).having(options.fail_if):
        print(f"fail_if={','.join(options.fail_if)}: {'; '.join(map(str, failed))}", file=sys.stderr)
        return 1
    if not comparison.compared and all(run.foreign is None for run in comparison.runs):
        raise RunError("nothing is comparable: no two rows ran the same episode from the same start")
    return 0


def _show_curves(options: Options, folders: Sequence[Path]) -> int:
    """The learning curves of sim-eval learn's folders, which no other folders go with."""
    from sim_eval.analysis.curves import read_curves
    from sim_eval.report import learning_curves

    curves = read_curves(folders)
    print("\n".join(learning_curves.sentences(curves)), flush=True)
    print(f"\n{learning_curves.write(curves, options.output)}")
    return 0
