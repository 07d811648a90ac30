"""A comparison as Markdown, for pull requests and notebooks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sim_eval.analysis.best import best_sets
from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.rows import Pairing
from sim_eval.foundation.formatting import command, listed, p_value, points
from sim_eval.report.headline import headline, test_name
from sim_eval.report.measures import meanings, measure_cells
from sim_eval.report.terminal import JERK, table_cells

_PAIR_HEAD = ["first", "second", "pairs", "won/lost", "p", "p Holm", "difference %"]
_POOLED = (
    "Every two rows over the pairs of all tables. The difference is the mean of the tables', with its bootstrap "
    "95 % interval; p is corrected over the comparisons of this section."
)
_LEGEND = (
    "Success rates have Wilson 95 % intervals. Won/lost, the p of the {test} and the difference in points with "
    "Tango's 95 % score interval compare a row with {reference} on the same episodes. Holm: p corrected over all "
    "{comparisons} comparisons of this report. group: rows that share a letter cannot be told apart. ms: median "
    "wall time of one decision. policy, critic, posterior: rows evaluated a decision. steps: mean of an episode."
)
_JERK_LEGEND = (
    f" {JERK}: the root mean square of the third difference of an episode's executed actions, the gripper's left out; "
    "its mean over episodes, divided by that of unsteered."
)


def markdown(comparison: Comparison) -> str:
    """The whole report as text."""
    lines = ["# Comparison", "", escaped(" ".join(headline(comparison))), ""]
    if best := best_sets(comparison):
        lines += [*(f"- {escaped(str(each))}" for each in best), ""]
    if comparison.design:
        lines += [escaped(str(comparison.design)), ""]
    if comparison.warnings:
        lines += ["## Warnings", "", *(f"- {escaped(warning)}" for warning in comparison.warnings), ""]
    for table in comparison.tables:
        policy = " ".join([table.policy, *table.policy_options])
        lines += [f"## {escaped(table.place)}, {escaped(policy)}", ""]
        lines += [*_rows(table_cells(table)), ""]
        if cells := measure_cells(table):
            lines += ["Besides success:", "", *_rows(cells), ""]
        if table.every_pair:
            lines += ["Every pair:", "", *_rows([_PAIR_HEAD, *(_pair_cells(pair) for pair in table.every_pair)]), ""]
    if comparison.pooled:
        lines += ["## All tables together", "", _POOLED, ""]
        lines += [*_rows([_PAIR_HEAD, *(_pair_cells(pair) for pair in comparison.pooled)]), ""]
    references = list(dict.fromkeys(label for table in comparison.tables for label in table.references))
    legend = _LEGEND.format(
        comparisons=comparison.comparisons, reference=listed(references) or "nothing", test=test_name(comparison)
    )
    if comparison.knows_jerk:
        legend += _JERK_LEGEND
    legend = " ".join([legend, *meanings(comparison)])
    lines += [escaped(legend), "", "## Runs", ""]
    for run in comparison.runs:
        if run.foreign is not None:
            lines.append(f"- {_code(run.name)}: run by {escaped(run.config['task']['target'])}")
            continue
        account = run.provenance[-1] if run.provenance else {}
        versions = ", ".join(f"{name} {version}" for name, version in account.get("versions", {}).items())
        lines.append(f"- {_code(run.name)}: {_code(command(account.get('command', [])))}; {escaped(versions)}")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line. Figures such as [-3..13] are no links and stay readable."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"[\\`*|~]", r"\\\g<0>", text)
    return re.sub(r"(\[[-+\d.]+\](?![(\[:]))|[\[\]]", lambda found: found[1] or f"\\{found[0]}", text)


def _code(text: str) -> str:
    """A code span, however many backticks are in the text."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def _pair_cells(pair: Pairing) -> list[str]:
    return [
        pair.label,
        pair.against,
        str(pair.pairs),
        f"{pair.won}/{pair.lost}",
        p_value(pair.p),
        p_value(pair.p_holm),
        points(pair.difference, pair.interval),
    ]


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(map(escaped, line)) + " |" for line in cells]
    return [head, "|" + " --- |" * len(cells[0]), *body]
