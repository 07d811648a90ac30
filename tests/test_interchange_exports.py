"""Exports for papers and programs: Parquet, CSV, LaTeX, SVG, and the command that writes them."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import made_run
from sim_eval.analysis.compare import compare
from sim_eval.commands import cli
from sim_eval.commands.cli import read_command
from sim_eval.commands.export import exported
from sim_eval.foundation.errors import RunError
from sim_eval.report import comparison as report
from sim_eval.report.svg_files import page_colours
from sim_eval.report.tables import escaped
from sim_eval.runs.parquet import METADATA
from sim_eval.runs.reader import read_run, records_frame
from sim_eval.runs.records import read

HALF, MOST = [0, 1] * 20, [1] * 36 + [0] * 4
LEROBOT = Path(__file__).parent / "interchange" / "lerobot_0.4.4.json"


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [made_run.write(tmp_path / name, name, {"unsteered": HALF, "qpilots_u": MOST}) for name in ("can", "lift")]


def written(path: Path, *arguments: object) -> str:
    exported(read_command("export", [*map(str, arguments), f"output={path}"]))
    return path.read_text()


def test_a_parquet_file_holds_every_field_and_how_it_was_made(runs: list[Path], tmp_path: Path) -> None:
    records = read(runs[0])
    odd = dataclasses.replace(records[0], error="boom", extra={"video": "a.mp4", "parts": {}})
    made_run.rewrite(runs[0], [odd, *records[1:]])
    path = tmp_path / "new" / "runs.parquet"
    exported(read_command("export", [*map(str, runs), "format=parquet", f"output={path}"]))
    frame, expected = pd.read_parquet(path), records_frame([read_run(run) for run in runs])
    assert len(frame) == 160
    assert list(frame.columns) == list(expected.columns)
    assert {"policy_rows", "decision_ms", "run", "seed", "block", "video"} <= set(frame.columns)
    assert not {"cost", "extra"} & set(frame.columns)
    assert frame["noise_seed"].tolist() == expected["noise_seed"].tolist(), "63 bits are kept"
    assert [list(q) for q in frame["q"]] == expected["q"].tolist()
    assert (frame["parts"][0], frame["error"][0]) == ("{}", "boom")
    schema = pq.read_schema(path)
    assert str(schema.field("jerk").type) == "double", "also where no record has one"
    assert (str(schema.field("instruction").type), str(schema.field("strength").type)) == ("string", "double")
    accounts = json.loads(schema.metadata[METADATA])
    assert accounts["lift"]["config"]["episodes"] == 40
    assert accounts["lift"]["provenance"][0]["checkpoints"] == made_run.CHECKPOINTS


def test_a_csv_file_holds_the_table(runs: list[Path], tmp_path: Path) -> None:
    text = written(tmp_path / "table.csv", *runs, LEROBOT, "format=csv")
    lines = list(csv.DictReader(text.splitlines()))
    assert [line["sampler"] for line in lines[:2]] == ["unsteered", "qpilots_u"]
    steered = lines[1]
    assert (steered["task"], steered["successes"], steered["rate"]) == ("can", "36", "0.9")
    assert (steered["against"], steered["won"], steered["lost"]) == ("unsteered", "18", "2")
    assert (steered["difference"], steered["significant"], steered["unpaired"]) == ("0.4", "True", "False")
    assert (lines[4]["unpaired"], lines[4]["p"], lines[4]["rate"]) == ("True", "", "0.75")


def test_a_latex_table_is_the_reports(runs: list[Path], tmp_path: Path) -> None:
    text = written(tmp_path / "table.tex", *runs, LEROBOT, "format=latex")
    assert "qpilots\\_u & 40 & 90 (77--96) & $+40^{\\star}$ [$20$, $57$] & $8 \\cdot 10^{-4}$ & a & 4.4 \\\\" in text
    assert "unsteered (lerobot\\_0.4.4.json) & 4 & 75 (30--95) & unpaired &  &  &  \\\\" in text
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {line.count(" & ") for line in body if "multicolumn" not in line} == {6}
    assert "over 2 comparisons" in text


def test_latex_prints_every_character_as_it_is() -> None:
    assert escaped('"') == "''"
    assert escaped("a_b%c\\d{e}~^\n#&$") == (r"a\_b\%c\textbackslash{}d\{e\}\textasciitilde{}\textasciicircum{} \#\&\$")


def test_figures_stand_alone(runs: list[Path], tmp_path: Path) -> None:
    files = report.write_figures(compare(runs), tmp_path / "out")
    names = {file.name for file in files}
    assert {"success-can-flow.svg", "cost-can-flow.svg", "speed-lift-flow.svg"} <= names
    assert page_colours()["ground"] == "#ffffff"
    for file in files:
        text = file.read_text()
        assert "var(" not in text
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        said = " ".join(root.itertext())
        assert "unsteered" in said, "a legend, or the axis, names the samplers"


def call(monkeypatch: pytest.MonkeyPatch, command: str, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sim-eval", command, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_commands(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(monkeypatch, "export", *runs, LEROBOT, "format=latex", f"output={out}/t.tex") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}/t.tex"
    assert call(monkeypatch, "compare", runs[0], LEROBOT, "policy=flow", "figures=true", f"output={out}") == 0
    told = capsys.readouterr().out
    assert f"figures in {out}/figures" in told
    assert "unpaired" in told
    assert call(monkeypatch, "compare", LEROBOT, f"output={out}") == 0, "there is nothing to pair"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN", "output=x"], "format is null; accepted: parquet, csv, latex, lerobot, vla_eval"),
        (["RUN", "format=excel", "output=x"], "format is excel; accepted: parquet"),
        (["RUN", "format=csv"], "output is null; accepted: the file to write"),
        (["format=csv", "output=x"], "there is no run to export"),
        (["RUN", "format=csv", "output=x", "colour=1"], "unknown option colour"),
        ([str(LEROBOT), "format=parquet", "output=x"], "another harness's file, without keys and costs"),
        (["RUN", "format=parquet", "output=RUN/records.jsonl/x"], "records.jsonl is a part of"),
        (["absent", "format=parquet", "output=x"], "is not a folder"),
    ],
)
def test_bad_options(runs: list[Path], arguments: list[str], told: str) -> None:
    with pytest.raises(RunError) as error:
        exported(read_command("export", [argument.replace("RUN", str(runs[0])) for argument in arguments]))
    assert told in str(error.value)
