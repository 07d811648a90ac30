"""A comparison as one self-contained HTML page: no network, no fonts, light and dark, wide and narrow."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import OmegaConf

from sim_eval.analysis.best import best_sets
from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.labels import POLICY
from sim_eval.analysis.rows import ALPHA, Row
from sim_eval.analysis.table import Table
from sim_eval.foundation import formatting
from sim_eval.report import figures
from sim_eval.report.episodes import episode_data, missing_videos, starts, strips
from sim_eval.report.headline import headline, test_name
from sim_eval.report.measures import meanings, measure_cells
from sim_eval.report.plot_style import outline
from sim_eval.report.sampler_styles import Styles, styles_of
from sim_eval.runs.provenance import request_facts
from sim_eval.runs.reader import Run
from sim_eval.runs.sweeps import RESULTS, read_sweep
from sim_eval.runs.videos import read_pictures


def html(comparison: Comparison, folder: Path, sweeps: Path = RESULTS) -> str:
    """The page that is to lie in `folder`; `sweeps` holds the published strength sweeps."""
    tables = comparison.tables
    groups = [starts(table) for table in tables]
    drawn = [strips(table, group) for table, group in zip(tables, groups, strict=True)]
    styles, panels = drawings(comparison, sweeps)
    page = environment().get_template("report.html.j2")
    return page.render(
        comparison=comparison,
        tables=tables,
        headline=headline(comparison),
        best=best_sets(comparison),
        measures=[(table, cells) for table in tables if (cells := measure_cells(table))],
        meanings=meanings(comparison),
        warnings=comparison.warnings + missing_videos(tables),
        alpha=ALPHA,
        test=test_name(comparison),
        style=styles,
        observed=observed(tables),
        request_facts=request_facts,
        scale=_difference_scale(comparison),
        references_of_all=set.intersection(
            *[set(table.references) for table in tables if not table.unpaired] or [set()]
        ),
        strips=[strip for group in drawn for strip in group],
        panels=panels,
        data=episode_data(comparison, groups, drawn, folder),
        outcomes=("rescued", "broken", "both", "neither"),
    )


def drawings(comparison: Comparison, sweeps: Path = RESULTS) -> tuple[Styles, dict[str, list[figures.Panel]]]:
    """The style of each label, and every figure's panels by the figure's name; `sweeps` as in `html`."""
    trials = _sweeps(comparison, sweeps)
    styles = _styles(comparison, trials)
    return styles, figures.panels(comparison.tables, styles, trials)


def environment() -> Environment:
    """Jinja with this package's templates, and the functions that they call."""
    loader = PackageLoader("sim_eval.report")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.globals.update(formatting=formatting, outline=outline)
    jinja.filters["yaml"] = lambda value: OmegaConf.to_yaml(OmegaConf.create(value))
    return jinja


def _styles(comparison: Comparison, sweeps: figures.Sweeps) -> Styles:
    labels = [row.label for table in comparison.tables for row in table.rows]
    swept = [trial.sampler for trials in sweeps.values() for trial in trials]
    return styles_of([*labels, *swept])


def _difference_scale(comparison: Comparison) -> Callable[[float], str]:
    """Where a difference lies on a whisker plot 150 units wide; the scale is the same for all and holds 0."""
    pairings = [row.pairing for table in comparison.tables for row in table.rows if row.pairing]
    ends = [0.0, *(end for pairing in pairings for end in pairing.interval)]
    low, spread = min(ends), (max(ends) - min(ends)) or 1
    return lambda difference: f"{6 + 138 * (difference - low) / spread:.1f}"


def _sweeps(comparison: Comparison, folder: Path) -> figures.Sweeps:
    """The published trials of each table that were drawn with the very models of its runs."""
    found = {}
    for table in comparison.tables:
        if table.unpaired or table.by == POLICY:  # a sweep is of one policy
            continue
        config = table.rows[0].runs[0].config
        published = read_sweep(folder / f"{table.task}-{config['policy']}-{config['critic']}.json")
        accounts = [account for row in table.rows for run in row.runs for account in run.provenance]
        used = [stamp for account in accounts for stamp in account["checkpoints"].items()]
        if published and all(published.checkpoints.get(role, digest) == digest for role, digest in used):
            found[table.name] = published.trials
    return found


@dataclass(frozen=True)
class Observed:
    """What the policy of a table or, by policy, of a row observed, as its first run with such a record says.

    `pictures`: data URLs of the first decision of episode 0, by observation. `facts`: by name, in words.
    """

    title: str
    instructions: Sequence[str]
    pictures: dict[str, str]
    facts: dict[str, str]


def observed(tables: Sequence[Table]) -> list[Observed]:
    """One for each policy whose runs hold an instruction or a request; runs of earlier versions hold neither."""
    found = []
    for title, rows in _policies(tables):
        runs = list({run.folder: run for row in rows for run in row.runs}.values())
        instructions = list(dict.fromkeys(text for run in runs for text in run.instructions))
        asked = next((run for run in runs if run.request is not None), None)
        if instructions or asked is not None:
            found.append(_observed(title, instructions, asked))
    return found


def _policies(tables: Sequence[Table]) -> Iterator[tuple[str, Sequence[Row]]]:
    """The rows of each policy under a title of their own; by policy, rows of the same runs count once."""
    for table in tables:
        if table.by == POLICY:
            by_runs = {tuple(run.folder for run in row.runs): row for row in reversed(table.rows)}
            yield from ((f"{table.name} {row.label}", [row]) for row in reversed(by_runs.values()))
        else:
            yield table.name, table.rows


def _observed(title: str, instructions: Sequence[str], run: Run | None) -> Observed:
    if run is None or run.request is None:
        return Observed(title, instructions, {}, {})
    stored = read_pictures(run.folder, run.request.images)
    pictures = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in stored.items()}
    return Observed(title, instructions, pictures, request_facts(run.request))
