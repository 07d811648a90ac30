"""The colour and shape of each sampler, the same on every page. Loads nothing that draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from sim_eval.runs.records import BASELINE

#: How many there are: the style sheet's colours s0 to s7, and as many shapes.
STYLES = 8

#: Samplers that always have the same style, by its number.
_KNOWN = (BASELINE, "best_of_n", "value_guided", "qpilots_u", "qpilots_m", "vgps", "qgf", "dsrl")

#: The number of colour and shape of every label.
Styles = Mapping[str, int]


def styles_of(labels: Iterable[str]) -> Styles:
    """The style of each label; others than the known samplers take those that no other label has, while there are."""
    given = dict.fromkeys(labels)
    styles = {label: _KNOWN.index(label) for label in given if label in _KNOWN}
    free = [number for number in range(STYLES) if number not in styles.values()]
    order = itertools.chain(free, itertools.cycle(range(STYLES)))
    styles |= dict(zip([label for label in given if label not in styles], order, strict=False))
    return {label: styles[label] for label in given}
