"""Records as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from sim_eval.runs.reader import Run


def records_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """One row per record, errors included, in the order of the runs and of their files.

    Columns: `run`, the run's name; `seed` and `block` of its keys; then the record's fields. Nested fields become
    columns: `policy_rows`, not `cost`. What another harness ran has neither seed nor block, and made-up keys.
    """
    import pandas as pd  # takes 0.4 s; only tables need it

    rows = [
        {"run": run.name, "seed": run.config.get("seed"), "block": run.config.get("block"), **asdict(record)}
        for run in runs
        for record in run.records
    ]
    for row in rows:
        cost = row.pop("cost")
        row |= row.pop("extra") | cost.pop("extra") | cost
    return pd.DataFrame(rows)
