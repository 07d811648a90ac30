"""The options of `sim-eval-compare`, checked and resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.analysis.verdict import read_fail_if
from sim_eval.config.compose import compose, folder
from sim_eval.errors import RunError
from sim_eval.fields import check_name
from sim_eval.runs.foreign import Described

_USAGE = "sim-eval-compare RUN [RUN ...] [output=DIR]"
_OPTIONS = ("output", "policy", "sampler", "figures")
#: Taken as they stand: a label may hold whatever Hydra's grammar gives a meaning.
_TEXTS = ("by", "reference", "fail_if")


@dataclass(frozen=True)
class CompareSettings:
    """What to compare: run folders, and files of other harnesses, as `described`. `figures`: write SVG files, too.

    `by`, `reference`: as `compare_runs` takes them. `fail_if`: the words of a verdict that are a failure.
    """

    sources: tuple[Path, ...]
    output: Path
    described: Described
    figures: bool
    by: str | None
    reference: str | None
    fail_if: tuple[str, ...]


def read_compare_settings(arguments: Sequence[str]) -> CompareSettings:
    """`sim-eval-compare`'s arguments. Raises RunError naming what is wrong."""
    sources, options = split_arguments(arguments)
    named = [option.partition("=")[0] for option in options]
    for option, name in zip(options, named, strict=True):
        if name not in (*_OPTIONS, *_TEXTS) or option == "output=" or named.count(name) > 1:
            raise RunError(
                f"{' '.join(options)} is not understood; accepted: run folders, and one output=DIR; files of other "
                "harnesses, and one policy=NAME, one sampler=NAME; by, reference, fail_if; figures=true"
            )
    if not sources:
        raise RunError(f"{options[0]} without a run folder; accepted: {_USAGE}")
    given = dict(option.split("=", 1) for option in options)
    texts = {name: None if given.get(name) in (None, "null") else given[name] for name in _TEXTS}
    config = compose("compare", [option for option, name in zip(options, named, strict=True) if name in _OPTIONS])
    return CompareSettings(
        sources=sources,
        output=report_folder(sources) if config["output"] is None else folder(config["output"]),
        described=described(config["policy"], config["sampler"]),
        figures=config["figures"],
        by=texts["by"],
        reference=texts["reference"],
        fail_if=read_fail_if(texts["fail_if"]),
    )


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[Path, ...], list[str]]:
    """The files and folders, which may have a `=` in their names, and the options."""
    options = [argument for argument in arguments if "=" in argument and not Path(argument).exists()]
    return tuple(Path(argument) for argument in arguments if argument not in options), options


def report_folder(sources: Sequence[Path]) -> Path:
    """Where a report goes unless told otherwise: the first run folder, or the folder of the first file."""
    return sources[0].parent if sources[0].is_file() else sources[0]


def described(policy: object, sampler: object) -> Described:
    """Names for what other harnesses' files do not say. Raises RunError for one that no run could have."""
    names = {"policy": str(policy), "sampler": str(sampler)}
    for what, name in names.items():
        check_name(what, name)
    return Described(**names)
