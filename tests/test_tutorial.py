"""docs/tutorial.md is run as it stands, and examples/quickstart.ipynb is the same page with the outputs of a run."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import sim_eval
from scripts.notebook import NOTEBOOK, PAGE, cells
from sim_eval.commands import cli

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tutorial_leads_from_a_policy_to_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names: dict[str, object] = {}
    for language, code in BLOCKS:
        if saved := re.match(r"# (\w+\.py)\n", code):
            Path(saved[1]).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, PAGE, "exec"), names)
        else:
            for line in code.replace("\\\n", " ").strip().splitlines():
                monkeypatch.setattr(sys, "argv", [*shlex.split(line), "workers=0"])
                with pytest.raises(SystemExit) as end:
                    cli.main()
                assert end.value.code == 0
    (table,) = sim_eval.compare("runs/mine").tables
    assert [(row.label, row.n) for row in table.rows] == [("unsteered", 40), ("best_of_n", 40), ("qpilots_u", 40)]
    for row in table.rows[1:]:
        assert row.pairing is not None
        assert row.pairing.won > row.pairing.lost


def test_the_tutorial_is_short() -> None:
    code = [line for _, block in BLOCKS for line in block.splitlines() if line.strip()]
    assert len(code) <= 40


def test_the_notebook_is_the_tutorial_with_outputs() -> None:
    """`make notebook` writes it."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook]
    assert sources == [tuple(cell) for cell in cells(PAGE.read_text(encoding="utf-8"))]
    ran = [cell for cell in notebook if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    assert not [output for cell in ran for output in cell["outputs"] if output["output_type"] == "error"]
    for cell in ran[-2:]:  # the run and the comparison
        assert "qpilots_u" in "".join(cell["outputs"][-1]["data"]["text/html"])
