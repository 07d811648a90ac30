"""Compact letter display: samplers that share a letter cannot be told apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import ascii_lowercase


def letters(ordered: Sequence[str], different: Collection[frozenset[str]]) -> dict[str, str]:
    """The letters of each name: two names share none exactly if their pair is in `different`.

    By insertion and absorption (Piepho 2004, J. Computational and Graphical Statistics 13). Groups are lettered in the
    order of their first names, so that `a` goes to the first of `ordered`, as a rule the best.
    """
    groups = [frozenset(ordered)]
    for pair in sorted(different, key=sorted):
        split = [group - {name} for group in groups if pair <= group for name in pair]
        groups = _largest([group for group in groups if not pair <= group] + split)
    place = {name: index for index, name in enumerate(ordered)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {name: "".join(_letter(index) for index, group in enumerate(groups) if name in group) for name in ordered}


def _largest(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The groups that lie in no other one, each once."""
    return [group for group in dict.fromkeys(groups) if not any(group < other for other in groups)]


def _letter(index: int) -> str:
    """a to z, then a2 to z2, and so on."""
    round_, place = divmod(index, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(round_ + 1) if round_ else "")
