"""A comparison's table for papers and programs: CSV with every figure, LaTeX with those that a paper prints."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.design import DesignCheck
from sim_eval.analysis.rows import ALPHA, Row
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import UNPAIRED, interval, listed, number, p_value, percent, signed
from sim_eval.report.headline import headline, test_name

_PAIRED = ("against", "pairs", "won", "lost", "p", "p_holm", "difference")
_MEANS = ("policy_rows", "critic_rows", "posterior_rows", "mean_q", "steps", "jerk")
_CSV_HEAD = (
    *("task", "policy", "sampler", "strength", "episodes", "errors", "successes", "rate", "low", "high", "unpaired"),
    *(*_PAIRED, "difference_low", "difference_high", "significant"),
    *("decision_ms", *_MEANS, "options"),
)
_LATEX_HEAD = ("$n$", "success, \\%", "difference", "$p$, Holm", "group", "ms")
_COMMANDS = {"~": "asciitilde", "^": "asciicircum", "\\": "backslash", "<": "less", ">": "greater", "|": "bar"}
_COMMANDS["`"] = "asciigrave"
_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    character: f"\\text{command}{{}}" for character, command in _COMMANDS.items()
}
_SPECIAL['"'] = "''"  # its command is not in every font encoding


def csv_table(comparison: Comparison) -> str:
    """A line for each row of every table. Rates and differences are fractions, unknown cells empty.

    `sampler`: the row's label. `options`: of task and policy, which all rows of its table share.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, _CSV_HEAD, lineterminator="\n")
    writer.writeheader()
    for table in comparison.tables:
        writer.writerows(_csv_cells(table, row) for row in table.rows)
    return file.getvalue()


def _csv_cells(table: Table, row: Row) -> dict[str, Any]:
    cells: dict[str, Any] = {"task": table.task, "policy": row.policy, "sampler": row.label, "strength": row.strength}
    cells |= {"episodes": row.n, "errors": len(row.failed), "successes": row.successes, "rate": row.rate}
    cells |= {"unpaired": row.unpaired, "decision_ms": row.ms, **{name: getattr(row, name) for name in _MEANS}}
    cells["options"] = " ".join([*table.task_options, *table.policy_options])
    if row.interval:
        cells["low"], cells["high"] = row.interval
    if row.pairing:
        cells |= {name: getattr(row.pairing, name) for name in _PAIRED}
        cells["difference_low"], cells["difference_high"] = row.pairing.interval
        cells["significant"] = row.pairing.survives
    return cells


def latex_table(comparison: Comparison) -> str:
    """A `tabular` for the package booktabs, a group of rows for each table; what it marks and tests stands below."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{lrlrrlr}",
        "\\toprule",
        _line([comparison.by, *_LATEX_HEAD]),
    ]
    for table in comparison.tables:
        title = f"\\multicolumn{{{1 + len(_LATEX_HEAD)}}}{{l}}{{\\emph{{{escaped(table.name)}}}}}"
        lines += ["\\midrule", _line([title]), *(_line(_latex_cells(row)) for row in table.rows)]
    references = list(dict.fromkeys(label for table in comparison.tables for label in table.references))
    against = listed(references) or "nothing"
    legend = (
        f"% Success in per cent with its Wilson 95 % interval. Difference in points from {against} on the "
        f"same episodes, with Tango's 95 % score interval. p: {test_name(comparison)}, Holm's correction over "
        f"{comparison.comparisons} comparisons; star: p < {ALPHA}. Rows that share a letter cannot be told "
        "apart. ms: median wall time of a decision."
    )
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", " ".join(legend.split())]) + "\n"


def _latex_cells(row: Row) -> list[str]:
    pairing = row.pairing
    difference = UNPAIRED if row.unpaired else ""
    if pairing:
        low, high = (percent(end) for end in pairing.interval)
        star = "^{\\star}" if pairing.survives else ""
        difference = f"${signed(pairing.difference)}{star}$ [${low}$, ${high}$]"
    return [
        escaped(row.label),
        str(row.n),
        f"{percent(row.rate)} ({interval(row.interval, '--')})" if row.n else "",
        difference,
        _latex_p(pairing.p_holm) if pairing else "",
        row.letters,
        "" if row.ms is None else number(row.ms, ".1f"),
    ]


def _latex_p(p: float) -> str:
    digits, exponent, power = p_value(p).partition("e")
    return f"${digits} \\cdot 10^{{{int(power)}}}$" if exponent else digits


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return "".join(_SPECIAL.get(character, character) for character in re.sub(r"\s+", " ", text))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"


def summary(comparison: Comparison) -> str:
    """Every figure of the report; rates and differences as fractions."""
    content = {
        "headline": " ".join(headline(comparison)),
        "by": comparison.by,
        "comparisons": comparison.comparisons,
        "tables": [_table(table) for table in comparison.tables],
        "overall": [asdict(overall) for overall in comparison.overall],
        "pooled": [asdict(pairing) for pairing in comparison.pooled],
        **({"design": _design(comparison.design)} if comparison.design else {}),
        "warnings": comparison.warnings,
        "runs": [{"name": run.name, "config": run.config, "provenance": run.provenance} for run in comparison.runs],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _design(check: DesignCheck) -> dict[str, Any]:
    found = {"kept": check.kept, "departures": list(check.departures), "unshown": list(check.unshown)}
    return {"file": check.design.path.name, "sha256": check.design.sha256, **found}


def _table(table: Table) -> dict[str, Any]:
    pairings = [asdict(pairing) for pairing in table.every_pair]
    rows = [_row(row) for row in table.rows]
    instructions = list(dict.fromkeys(text for row in table.rows for run in row.runs for text in run.instructions))
    named = {"task": table.task, "policy": table.policy, "instructions": instructions}
    options = [*table.task_options, *table.policy_options]
    return {**named, "options": options, "references": table.references, "rows": rows, "every_pair": pairings}


def _row(row: Row) -> dict[str, Any]:
    left_out = {"records", "failed", "run_of", "measured", *(["jerk"] if row.jerk is None else [])}
    figures = {name: value for name, value in vars(row).items() if name not in left_out}
    pairing = asdict(row.pairing) if row.pairing else None
    found: dict[str, Any] = {"unpaired": True} if row.unpaired else {}
    if row.measured:
        found["measured"] = {name: asdict(value) for name, value in row.measured.items()}
    return {**figures, "runs": [run.name for run in row.runs], "errors": len(row.failed), "pairing": pairing, **found}
