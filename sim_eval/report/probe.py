"""A probe's figures in words: on the terminal, and in the rows of its page."""

from __future__ import annotations

from sim_eval.analysis.rows import Pairing
from sim_eval.analysis.statistics import EARLY
from sim_eval.foundation.formatting import ABSENT, number, p_value, points
from sim_eval.probing.gains import Gain, Gains
from sim_eval.probing.measures import OWN, Figure, Spread
from sim_eval.probing.oracle import Oracle
from sim_eval.probing.play import BLOCK, CANDIDATES
from sim_eval.probing.probe import Probe, TwinFigures


def probe_lines(probe: Probe) -> list[str]:
    """The lines: the sentence, what was played, a row for each figure, and what was left out."""
    labelled = rows(probe)
    width = max(len(label) for label, _ in labelled)
    return [
        probe.sentence,
        "",
        played(probe),
        "",
        *(f"  {label:<{width}}  {value}" for label, value in labelled),
        "",
        *notes(probe),
        *(f"left out: {line}" for line in probe.left_out),
    ]


def played(probe: Probe) -> str:
    """What was probed, on which episodes."""
    options = probe.options
    return (
        f"{options['task']['name']}, {options['policy']}, critic {options['critic']}: {probe.episodes} unsteered "
        f"episodes of the {BLOCK} block, {probe.successes} successful"
    )


def rows(probe: Probe, gains: bool = True) -> list[tuple[str, str]]:
    """Every figure, named; without `gains` all but those of the twins."""
    return [
        *([] if probe.twins is None else [_agreement(probe.twins)]),
        *([] if probe.twins is None or not gains else _of_gains(probe.twins.gains)),
        *([] if probe.oracle is None else _of_oracle(probe.oracle)),
        ("AUC of Q for success, all decisions", _area(probe.auc)),
        (f"AUC, first {EARLY} control steps", _area(probe.auc_early)),
        (f"one early argmax of {CANDIDATES}, against a random draw", _difference(probe.argmax)),
        ("what that argmax shows", probe.verdict),
        ("Q within a state / across states", _spread(probe.spread)),
        *((f"chunks of {name} that leave", _share(share)) for name, share in probe.leaving.shares.items()),
    ]


def notes(probe: Probe) -> list[str]:
    """How to read the figures."""
    twins = (
        "a twin is a critic fitted to half of the episodes; a gain is what steering by one twin adds to Q, in units of "
        "Q's spread over the policy's draws in a state, by its own judgement and by that of the other twin; of several "
        "strengths the best is chosen in the same states, which favours it; what both twins get wrong alike does not "
        "show"
    )
    return [
        "in brackets: 95 % intervals over episodes",
        *([] if probe.twins is None else [twins]),
        f"a chunk leaves if it is farther from {probe.leaving.references} draws of the policy in the same state than "
        f"{OWN:.0%} of the policy's own draws are",
    ]


def bracketed(figure: Figure, form: str = ".2f") -> str:
    """The figure with its interval; `form` is a format specification."""
    if figure.interval is None:
        return ABSENT
    low, high = (format(end, form) for end in figure.interval)
    return f"{number(figure.value, form)} [{low}..{high}]"


def _agreement(twins: TwinFigures) -> tuple[str, str]:
    counts = f"{twins.agreement.n} states, twins of {twins.episodes} episodes"
    return "agreement of two twins within a state", f"{bracketed(twins.agreement)} over {counts}"


def _of_gains(gains: Gains) -> list[tuple[str, str]]:
    found = [("best_of_n adds to Q", _gain(gains.best_of_n))]
    for name, tried in gains.tried.items():
        found += [(f"{name} at {gain.strength:g} adds to Q", _gain(gain)) for gain in tried]
        peak = gains.peaks[name]
        above = f"strength {peak.gain.strength:g}, {bracketed(peak.over_best_of_n)} above best_of_n"
        found.append((f"{name}, where its twin gain peaks", above))
    return found


def _gain(gain: Gain) -> str:
    return f"{bracketed(gain.own)} by its own judgement, {bracketed(gain.twin)} by its twin's"


def _of_oracle(oracle: Oracle) -> list[tuple[str, str]]:
    test = oracle.against_unsteered
    solved = f"{test.both + test.won} of {test.pairs}, {test.against} {test.both + test.lost}"
    return [(test.label, f"{solved}; {oracle.simulated} steps simulated for {oracle.steps} played")]


def _area(figure: Figure) -> str:
    if figure.interval is None:
        return f"{ABSENT} (all episodes ended alike)"
    return f"{bracketed(figure)} over {figure.n} decisions"


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
