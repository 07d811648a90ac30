"""Write runs as one file for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.options import Given, option
from sim_eval.config.values import one_of
from sim_eval.foundation.errors import RunError
from sim_eval.runs.foreign import Described, described
from sim_eval.runs.outputs import check_file

USAGE = (
    "sim-eval export RUN [RUN ...] [FILE ...] format=FORMAT output=FILE\n\n"
    "RUN: a run folder. FILE: LeRobot's eval_info.json or a result file of vla-eval."
)

FORMATS = ("parquet", "csv", "latex", "lerobot", "vla_eval")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write runs as one file for other programs. `sources`: run folders and files of other harnesses."""

    sources: tuple[Path, ...]
    format: str = option(
        None,
        "parquet: one row an episode; csv or latex: the comparison's table; lerobot or vla_eval: their result files",
        kind="str | None",
    )
    output: Path = option(None, "the file to write", kind="Path | None")
    sampler: str | None = option(
        None, "for lerobot and vla_eval: whose episodes are written; null: the only one there is"
    )
    policy: str = option("unknown", "what the FILEs evaluated, for they do not say")

    @staticmethod
    def resolve(given: Given) -> None:
        if not given["sources"]:
            raise RunError(
                "there is no run to export; accepted: sim-eval export RUN [RUN ...] format=FORMAT output=FILE"
            )
        if given["output"] is None:
            raise RunError("output is null; accepted: the file to write")
        one_of("format", given["format"], FORMATS)
        check_file("output", given["output"], given["sources"])
        described(given["policy"], Described.sampler)


def run(options: Options) -> int:
    print("\n".join([*exported(options), str(options.output)]))
    return 0


def exported(options: Options) -> list[str]:
    """Write the file. Returns what a user must know about it, a line each. Raises RunError as `report.export`."""
    from sim_eval.report.export import export

    names = described(options.policy, Described.sampler)
    return export(options.sources, options.format, options.output, names, options.sampler)
