"""A probe's figures on the terminal."""

from __future__ import annotations

from sim_eval.analysis.rows import Pairing
from sim_eval.probing.measures import OWN, Figure, Spread
from sim_eval.probing.play import BLOCK, CANDIDATES
from sim_eval.probing.probe import Probe
from sim_eval.report.formatting import ABSENT, number, p_value, points
from sim_eval.training.critic import EARLY


def said(probe: Probe) -> list[str]:
    """The lines: what was played, a row for each figure, the verdict, and what was left out."""
    options = probe.options
    rows = [
        ("AUC of Q for success, all decisions", _figure(probe.auc, ".2f")),
        (f"AUC, first {EARLY} control steps", _figure(probe.auc_early, ".2f")),
        (f"one early argmax of {CANDIDATES}, against a random draw", _difference(probe.argmax)),
        ("Q within a state / across states", _spread(probe.spread)),
        *((f"chunks of {name} that leave", _share(share)) for name, share in probe.leaving.shares.items()),
    ]
    width = max(len(label) for label, _ in rows)
    return [
        f"{options['task']['name']}, {options['policy']}, critic {options['critic']}: {probe.episodes} unsteered "
        f"episodes of the {BLOCK} block, {probe.successes} successful",
        "",
        *(f"  {label:<{width}}  {value}" for label, value in rows),
        "",
        "in brackets: 95 % intervals over episodes",
        f"a chunk leaves if it is farther from {probe.leaving.references} draws of the policy in the same state than "
        f"{OWN:.0%} of the policy's own draws are",
        *(f"left out: {line}" for line in probe.left_out),
        "",
        probe.verdict,
    ]


def _figure(figure: Figure, form: str) -> str:
    if figure.interval is None:
        return f"{ABSENT} (all episodes ended alike)"
    low, high = (format(end, form) for end in figure.interval)
    return f"{number(figure.value, form)} [{low}..{high}] over {figure.n} decisions"


def _difference(pairing: Pairing) -> str:
    return f"{points(pairing.difference, pairing.interval)} points over {pairing.pairs} pairs, p {p_value(pairing.p)}"


def _spread(spread: Spread) -> str:
    ratio = number(spread.ratio, ".2f")
    return f"{spread.within:.2f} / {spread.across:.2f} = {ratio} over {spread.states} states, {spread.draws} draws each"


def _share(share: Figure) -> str:
    assert share.value is not None
    assert share.interval is not None
    low, high = (f"{100 * end:.1f}" for end in share.interval)
    return f"{100 * share.value:.1f} % [{low}..{high}] of {share.n} states"
