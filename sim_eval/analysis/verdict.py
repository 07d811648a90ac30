"""What a comparison decides, for scripts: each row against its reference, in one of four words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.rows import Row
from sim_eval.analysis.table import Table
from sim_eval.config.values import one_of

BETTER, WORSE, CANNOT_TELL, NOT_COMPARABLE = "better", "worse", "cannot tell", "not comparable"
WORDS = (BETTER, WORSE, CANNOT_TELL, NOT_COMPARABLE)


@dataclass(frozen=True)
class Judgement:
    """One row against its reference. `word`: one of `WORDS`, after the correction over the report."""

    table: str
    label: str
    against: str
    word: str

    def __str__(self) -> str:
        said = {CANNOT_TELL: "cannot be told from", NOT_COMPARABLE: "is not comparable with"}
        return f"{self.label} {said.get(self.word, f'is {self.word} than')} {self.against} on {self.table}"


@dataclass(frozen=True)
class Verdict:
    """The judgement of every row that is no reference, in the order of the tables."""

    judgements: Sequence[Judgement]

    def having(self, words: Sequence[str]) -> list[Judgement]:
        """The judgements with one of these words."""
        return [judgement for judgement in self.judgements if judgement.word in words]


def verdict(comparison: Comparison) -> Verdict:
    """Judge each row of every table, other harnesses' included, but the rows that others are compared with."""
    found = []
    for table in comparison.tables:
        reference = _reference(table)
        found += [
            Judgement(table.name, row.label, row.pairing.against if row.pairing else reference, _word(row))
            for row in table.rows
            if row.label not in (reference, *table.references)
        ]
    return Verdict(found)


def read_fail_if(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The words in the option `fail_if`, a list or a text with commas; none for None. Raises RunError for others."""
    words = value.split(",") if isinstance(value, str) else value or ()
    return tuple(one_of("fail_if", word.strip() if isinstance(word, str) else word, WORDS) for word in words)


def _reference(table: Table) -> str:
    """The row that the others would be compared with, even if none can be."""
    if table.reference is not None:
        return table.reference
    baselines = (table.baseline(row) for row in table.rows)
    return next((baseline.label for baseline in baselines if baseline is not None), table.rows[0].label)


def _word(row: Row) -> str:
    if row.pairing is None:
        return NOT_COMPARABLE
    if not row.pairing.survives:
        return CANNOT_TELL
    return BETTER if row.pairing.difference > 0 else WORSE
