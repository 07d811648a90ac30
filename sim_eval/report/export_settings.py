"""The options of `sim-eval-export`, checked and resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.compose import compose, folder
from sim_eval.config.values import one_of
from sim_eval.errors import RunError
from sim_eval.report.settings import described, split_arguments
from sim_eval.runs.foreign import Described

FORMATS = ("parquet", "csv", "latex", "lerobot", "vla_eval")


@dataclass(frozen=True)
class ExportSettings:
    """What to write as one file, `output`, in which of FORMATS. `sampler`: None for the only one there is."""

    sources: tuple[Path, ...]
    format: str
    output: Path
    sampler: str | None
    described: Described


def read_export_settings(arguments: Sequence[str]) -> ExportSettings:
    """`sim-eval-export`'s arguments. Raises RunError naming what is wrong."""
    sources, options = split_arguments(arguments)
    config = compose("export", options)
    if not sources:
        raise RunError("there is no run to export; accepted: sim-eval-export RUN [RUN ...] format=FORMAT output=FILE")
    if config["output"] is None:
        raise RunError("output is null; accepted: the file to write")
    return ExportSettings(
        sources=sources,
        format=one_of("format", config["format"], FORMATS),
        output=folder(config["output"]),
        sampler=None if config["sampler"] is None else str(config["sampler"]),
        described=described(config["policy"], Described.sampler),
    )
