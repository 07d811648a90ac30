"""Values of the right type and the wrong size, in every file of a run: one line that names the field."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import made_run
from sim_eval.analysis.compare import compare
from sim_eval.analysis.curves import read_curves
from sim_eval.foundation.bounded import bounded, parse_json, read_bytes
from sim_eval.foundation.errors import RunError
from sim_eval.report import html, markdown
from sim_eval.report.export import export
from sim_eval.runs.foreign import UNDESCRIBED
from sim_eval.runs.reader import read_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_run.write(tmp_path / "run", "can", {"unsteered": [0, 1], "qpilots_u": [1, 1]})


def change_record(folder: Path, **fields: Any) -> None:
    path = folder / "records.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **fields}), *others]) + "\n")


BAD: dict[str, tuple[Any, ...]] = {
    "steps": (10**400, 2**63, -1, 1.5, None, "3", True, [1]),
    "wall_s": (10**400, float("nan"), float("inf"), 1e308, None, "1", []),
    "q": ([10**400], [float("nan")], [1e308], [None], ["1"], 3, {}),
    "mean_q": (-(10**400), 1e308, "high"),
    "cost": (None, [], {"policy_rows": 10**400}),
    "strength": (1e308, "strong", [1.0]),
    "instruction": (3, ["lift"]),
    "added_later": (10**400, float("nan"), 1e308, {"a": [float("inf")]}),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_out_of_bounds_is_named(folder: Path, field: str, value: Any) -> None:
    change_record(folder, **{field: value})
    with pytest.raises(RunError, match=rf"records.jsonl line 1.*({field}|policy_rows)") as error:
        read_run(folder)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["\ud800", "a\rb", "a\r\nb", "\0", "\x1b[2J", "\u202e", "\u2028", "\x85"])
def test_texts_are_made_printable_where_they_are_read(folder: Path, tmp_path: Path, text: str) -> None:
    """Reports, tables, Parquet and pages then need no care of their own."""
    change_record(folder, error=text, instruction=text, added_later=text)
    (record, *_) = read_run(folder).records
    for stored in (record.error, record.instruction, record.extra["added_later"]):
        assert stored is not None
        assert stored.replace("\n", "").isprintable()
        stored.encode()
    comparison = compare([folder])
    markdown.markdown(comparison).encode()
    html.html(comparison, tmp_path).encode()
    for kind in ("csv", "parquet"):
        export([folder], kind, tmp_path / kind, UNDESCRIBED)


def test_whole_numbers_of_64_bits_reach_a_table(folder: Path, tmp_path: Path) -> None:
    """Arrow refuses those that are no exact float."""
    change_record(folder, q=[0.5, 10**18 + 1], mean_q=10**18 + 1)
    export([folder], "parquet", tmp_path / "table", UNDESCRIBED)
    assert 1e18 in pd.read_parquet(tmp_path / "table").mean_q.to_list()


def test_a_carriage_return_ends_no_record(folder: Path) -> None:
    """JSON allows it between values; the lines after it were lost."""
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"version"', b'{\r"version"', 1))
    assert len(read_run(folder).records) == 4


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", {"episodes": 10**400}, "config.yaml: episodes is 1000"),
        ("config.yaml", {"workers": 10**400}, "config.yaml: workers is 1000"),
        ("config.yaml", {"policy": "../../x"}, 'config.yaml: policy is "../../x"; accepted: letters'),
        ("config.yaml", {"samplers": ["unsteered", "../x"], "sampler": {"unsteered": {}, "../x": {}}}, "samplers is"),
        ("config.yaml", {"policy_options": None}, "policy_options is null; accepted: a mapping"),
        ("config.yaml", {"task": {"name": "can", "index": -1}}, "task: index is -1; accepted: a whole number"),
        ("config.yaml", {"task": {"name": "can", "target": ["x"]}}, "task: target is "),
        ("provenance.json", {"started": None}, "provenance.json: started is null; accepted: text"),
        ("provenance.json", {"command": "x"}, "provenance.json: command is "),
        ("provenance.json", {"request": {"names": ["../../secret_image"]}}, "request: names is "),
        ("provenance.json", {"request": {"names": [3]}}, "request: names is "),
        ("provenance.json", {"request": {"image_size": 10**400}}, "request: image_size is "),
        ("videos.json", [{"file": "\0.mp4", "shows": []}], "accepted: a path without a NUL"),
        ("videos.json", [{"file": "a" * 300, "shows": []}], "which is no path"),
        ("videos.json", [{"file": ["a"], "shows": []}], "file is "),
        ("videos.json", [{"file": "a.mp4", "shows": [{"sampler": "a", "episode": 2**63}]}], "shows is "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_other_files_are_checked_as_well(folder: Path, file: str, content: Any, message: str) -> None:
    path = folder / file
    if isinstance(content, dict):
        stored = json.loads(path.read_text())
        entry = stored[0] if isinstance(stored, list) else stored
        entry.update(content)
        content = stored
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=message):
        read_run(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("curve.json", [{"steps": 10**400, "outcomes": [True]}], "curve.json: steps is 1000"),
        ("curve.json", [{"steps": 0, "outcomes": []}], r"entry 1: outcomes is \[\]"),
        ("curve.json", [{"steps": 0, "outcomes": [True], "mean_q": 1e308}], "mean_q is 1e\\+308"),
        ("options.json", {"fingerprints": []}, r"fingerprints is \[\]"),
        ("options.json", {"task": {"name": "can", "index": "x"}}, "task: index is"),
        ("options.json", {"seed": 2**63}, "seed is 9223372036854775808"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_curves_are_bounded(tmp_path: Path, file: str, content: Any, message: str) -> None:
    options = {"task": {"name": "can"}, "policy": "flow", "sampler": {"edit": {}}, "evaluate": 100, "seed": 0}
    stored: dict[str, Any] = {"options.json": options, "curve.json": [{"steps": 0, "outcomes": [True]}]}
    stored[file] = {**options, **content} if isinstance(content, dict) else content
    for name, value in stored.items():
        (tmp_path / name).write_text(json.dumps(value))
    with pytest.raises(RunError, match=message):
        read_curves([tmp_path])


def test_files_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 10**12)  # takes no place on the disk
    with pytest.raises(RunError, match="large has 1000000000000 bytes; accepted: 1000"):
        read_bytes(tmp_path / "large", 1000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe is no file"):
        read_bytes(tmp_path / "pipe", 1000)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunError, match="loop cannot be read"):
        read_bytes(tmp_path / "loop", 1000)


@pytest.mark.parametrize(
    "text", [b"[" * 200 + b"]" * 200, b"[" * 100_000, b"\xff", b"\xef\xbb\xbf{}", b"1" * 5000, b"1e999"]
)
def test_json_that_no_reader_could_follow_is_refused(text: bytes) -> None:
    with pytest.raises(RunError, match=r"^file "):
        parse_json(text, "file")


def test_what_is_within_bounds_is_as_it_was() -> None:
    value = {"a": [1, 2.5, True, None, "text\n\tüß 漢"], "b": {"c": [[0.1] * 5]}, "n": 2**63 - 1, "m": -1e100}
    assert bounded(value, "file") == value
    assert parse_json(json.dumps(value).encode(), "file") == value
