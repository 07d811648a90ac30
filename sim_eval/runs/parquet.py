"""Every recorded episode of run folders as one Parquet file, with all that is known of how it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import replacing
from sim_eval.rollout.result import Cost
from sim_eval.runs.reader import Run, records_frame
from sim_eval.runs.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

#: The key of the file's metadata that holds, as JSON, each run's options and accounts of how it was made.
METADATA = b"sim_eval"


def write_parquet(runs: Sequence[Run], path: Path) -> None:
    """One row an episode, errors included, with the columns of `records_frame`, typed even where all are null.

    Fields of other versions that are neither numbers nor text are JSON.

    The metadata, key METADATA, maps each run to `config` and `provenance`: versions, machine, git revision and the
    fingerprints of the models, for every start of the run. Raises RunError for other harnesses' files, for runs without
    records, and if the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if foreign := [run.foreign for run in runs if run.foreign is not None]:
        raise RunError(f"{foreign[0]} is another harness's file, without keys and costs; accepted: run folders")
    if not any(run.records for run in runs):
        raise RunError(f"no episode is recorded in {', '.join(str(run.folder) for run in runs)}")
    accounts = {run.name: {"config": run.config, "provenance": run.provenance} for run in runs}
    known, frame = column_types(), records_frame(runs)
    for name in frame.columns.difference(known.keys()):
        if frame[name].dtype == object:
            frame[name] = frame[name].map(lambda value: None if value != value else json.dumps(value))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    typed = [pa.field(field.name, known.get(field.name, field.type)) for field in table.schema]
    metadata = {**(table.schema.metadata or {}), METADATA: json.dumps(accounts).encode()}
    try:
        with replacing(path) as part:
            pq.write_table(table.cast(pa.schema(typed)).replace_schema_metadata(metadata), part)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def column_types() -> dict[str, pa.DataType]:
    """The Arrow type of each of a record's fields, by name."""
    import pyarrow as pa

    plain = {
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        str: pa.string(),
        list[float]: pa.list_(pa.float64()),
    }

    def arrow(kind: Any) -> pa.DataType | None:
        return next((plain[option] for option in (kind, *get_args(kind)) if option in plain), None)

    hints = get_type_hints(Record) | get_type_hints(Cost)
    return {name: found for name, kind in hints.items() if (found := arrow(kind)) is not None and name != "extra"}
