"""examples/quickstart.ipynb, made from docs/tutorial.md and executed: `make notebook`.

The page's prose becomes text cells and its blocks of code become code cells, so that page and notebook say the same.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/tutorial.md"
NOTEBOOK = ROOT / "examples/quickstart.ipynb"

_SETUP = """import os
import sys

os.chdir("..")  # the checkout, whose files the commands name
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # sim-eval is there"""
_BLOCK = re.compile(r"```(\w+)\n(.*?)```\n?", re.DOTALL)


class Cell(NamedTuple):
    """A cell. `kind`: "markdown" or "code"."""

    kind: str
    source: str


def cells(page: str) -> list[Cell]:
    """The page as cells. A block that begins with `# NAME.py` is written to that file; output is left out."""
    found = [Cell("code", _SETUP)]
    prose, *rest = _BLOCK.split(page)
    found.append(_text(prose))
    for language, code, prose in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        if language == "sh":
            found.append(Cell("code", re.sub(r"^(?=\S)", "!", code.strip(), flags=re.MULTILINE)))
        elif language == "python":
            saved = re.match(r"# (\w+\.py)\n", code)
            written = f"%%writefile {saved[1]}\n{code[saved.end() :]}" if saved else code
            found.append(Cell("code", written.strip()))
        found.append(_text(prose))
    return [cell for cell in found if cell.source]


def _text(prose: str) -> Cell:
    """A text cell, its links as they lead from the notebook's folder."""

    def moved(link: re.Match[str]) -> str:
        return link[0] if "://" in link[1] else f"]({posixpath.normpath(f'../docs/{link[1]}')})"

    return Cell("markdown", re.sub(r"\]\(([^)\s]+)\)", moved, prose).strip())


def _tidied(outputs: list[Any]) -> list[Any]:
    """Outputs whose text is in one piece, and progress bars as they ended."""
    found: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].get("name") == output.name:
            found[-1].text += output.text
        else:
            found.append(output)
    for output in found:
        if output.output_type == "stream":
            ended = output.text.replace("\r\n", "\n").rstrip("\n")
            output.text = "".join(f"{line.rpartition(chr(13))[2]}\n" for line in ended.split("\n"))
    return found


def write() -> None:
    """Execute the cells in an empty folder beside the examples, and write the notebook with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook()
    for number, cell in enumerate(cells(PAGE.read_text(encoding="utf-8"))):
        make = nbformat.v4.new_code_cell if cell.kind == "code" else nbformat.v4.new_markdown_cell
        notebook.cells.append(make(cell.source, id=f"cell-{number}"))
    with tempfile.TemporaryDirectory() as place:
        examples = Path(place) / "examples"
        shutil.copytree(ROOT / "examples", examples, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
        place_of_cells = {"metadata": {"path": examples}}
        NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place_of_cells).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":
            cell.outputs = _tidied(cell.outputs)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    write()
