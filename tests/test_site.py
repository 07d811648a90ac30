"""The documentation says what there is: every page is reachable, and its lists are those of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image

import sim_eval
from scripts import task_gallery
from sim_eval.config.samplers import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NAMES = sorted(page.name for page in DOCS.glob("*.md"))
#: A picture of a task may not be larger than this, in bytes.
LARGEST = 60_000


def test_every_page_is_in_the_navigation_and_linked_from_the_start() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\nvalidation:")[0]
    pages = [
        page
        for group in yaml.safe_load(nav)
        for entries in group.values()
        for entry in entries
        for page in entry.values()
    ]
    assert sorted(pages) == NAMES
    linked = set(re.findall(r"\]\((\w+\.md)", (DOCS / "README.md").read_text(encoding="utf-8")))
    assert linked == set(NAMES) - {"README.md"}


def test_the_tables_of_tasks_are_those_of_sim_eval_list() -> None:
    """`python -m scripts.task_gallery tables` writes them."""
    page = task_gallery.PAGE.read_text(encoding="utf-8")
    assert task_gallery.written(page) == page
    assert page.count("](pictures/") == sum(map(len, task_gallery.PICTURED.values()))


@pytest.mark.parametrize("picture", [picture for _, _, picture in task_gallery.pictured()])
def test_a_task_has_a_small_picture(picture: str) -> None:
    file = task_gallery.PICTURES / picture
    assert file.stat().st_size < LARGEST
    with Image.open(file) as image:
        assert image.size == (task_gallery.SIZE, task_gallery.SIZE)
        assert np.ptp(np.asarray(image.convert("L"))) > 60  # something is drawn


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("(On bowl_1 plate_1)", "the bowl is on the plate"),
        (
            "(And (On bowl_2 bowl_1) (In bowl_1 tray_1_contain_region))",
            "the bowl 2 is on the bowl 1, and the bowl 1 is in the tray",
        ),
        ("(And (Close oven_1) (Open oven_1_top_region))", "the oven is closed, and the top region of the oven is open"),
    ],
)
def test_a_goal_is_put_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: str, words: str) -> None:
    (tmp_path / "task.bddl").write_text(f"(define (:language do it)\n  (:goal\n    {goal}\n  )\n)", encoding="utf-8")
    assert task_gallery.libero_goal(tmp_path / "task.bddl") == words


def test_every_sampler_has_its_section() -> None:
    page = (DOCS / "samplers.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    told = {name: text for name, text in sections if name in SHIPPED}
    assert list(told) == list(SHIPPED)
    assert all("$" in text for text in told.values())
    assert all("**When it helped.**" in text for name, text in told.items() if name != "unsteered")


def test_every_public_name_is_in_the_reference() -> None:
    """Under the module that defines it."""
    named = re.findall(r"^::: ([\w.]+)\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for _, name in named} == set(sim_eval.__all__) | {"Comparison", "FrozenPolicy"}
    for module, name in named:
        defined = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")).body
        assert name in {getattr(node, "name", None) for node in defined}


def test_the_version_is_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    cited = " ".join(reference.get("notes", "") for reference in citation["references"])
    assert set(SHIPPED) - {"unsteered", "best_of_n"} <= set(re.findall(r"\w+", cited))


@pytest.mark.parametrize("file", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda file: file.name)
def test_githubs_files_are_whole(file: Path) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if file.parent.name == "workflows":
        assert all("runs-on" in job for job in content["jobs"].values())
    elif file.name != "config.yml":
        assert {"name", "description", "body"} <= set(content)
        ids = [part["id"] for part in content["body"]]
        assert len(ids) == len(set(ids))
