"""Records as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sim_eval.runs.reader import Run
    from sim_eval.runs.records import Record

# pandas takes 0.4 s to import: only those who ask for a table wait for it.


def records_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a record, in the order of the runs and of their files, errors included.

    Columns: `run`, the run's name; `seed` and `block` of its keys; then the record's fields. Nested fields, such as
    costs, are columns of their own: `policy_rows`, not `cost`.
    """
    import pandas as pd

    return pd.DataFrame(
        [
            {"run": run.name, "seed": run.config["seed"], "block": run.config["block"], **_flat(record)}
            for run in runs
            for record in run.records
        ]
    )


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """As `records_frame`, of records alone."""
    import pandas as pd

    return pd.DataFrame([_flat(record) for record in records])


def _flat(values: Any) -> dict[str, Any]:
    """The fields of a record, and those of its nested ones beside them."""
    flat: dict[str, Any] = {}
    for name, value in (vars(values) if is_dataclass(values) else values).items():
        flat.update(_flat(value) if isinstance(value, dict) or is_dataclass(value) else {name: value})
    return flat
