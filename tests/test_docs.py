"""The README, the documentation and the examples: every command is accepted, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import made_run
from sim_eval.commands import cli
from sim_eval.commands.cli import read_command
from tests.commands import put_toy

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
OUTPUTS = ("output", "results")


def commands(page: Path) -> Iterator[str]:
    """The commands in a page's shell blocks, and in the docstrings of examples, comments left out."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if page.suffix == ".md" else [text]
    for line in "\n".join(blocks).splitlines():
        if found := re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?sim-eval (.*)", line):
            yield re.sub(r"\s+#.*", "", found[1]).rstrip("& ")


DOCUMENTED = sorted({(page.name, command) for page in PAGES for command in commands(page)})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the commands name."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "mine.py").write_text(
        f"{code[1]}\ndef build(size=1): ...\ndef critic(): ...\n"
        "class Task:\n    pass\n\nclass MySampler:\n    def __init__(self, strength=1.0): ...\n"
    )
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for folder in ("RUN", "runs/can", "runs/demo-can", "runs/learned", "runs/can-flow", "DIR"):
        made_run.write(tmp_path / folder, "made", {"unsteered": [0, 1, 0, 1], "qpilots_u": [1, 1, 0, 1]})
    learned = ("DIR", "runs/critic", "runs/learned", "runs/can-best_of_n", "runs/can-qpilots_u", "runs/26-best_of_n-s0")
    for folder in (*learned, "mine/lift", "mine/can", "mine/own_task"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "critic.safetensors").touch()
    (tmp_path / "results").symlink_to(ROOT / "results")
    (tmp_path / "mine/strengths.yaml").write_text("every_task: {qpilots_u: 1.0, qpilots_m: 1.0, value_guided: 1.0}\n")
    for file in (
        "FILE",
        "data/scene-play-v0.npz",
        "mine/ogbench_scene/flow.safetensors",
        "narrow/can/flow.safetensors",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    design = re.search(r"```yaml\n(tasks: .*?)```", (ROOT / "docs/reports.md").read_text(), re.DOTALL)
    assert design is not None
    (tmp_path / "design.yaml").write_text(design[1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(DOCUMENTED) > 60


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("page", "command"), DOCUMENTED)
def test_a_documented_command_is_accepted(page: str, command: str) -> None:
    name, *arguments = shlex.split(command)
    if "=" in name:
        name, arguments = "evaluate", [name, *arguments]
    if name in ("--help", "--version", "COMMAND") or "--help" in arguments:
        return
    if page == "extend.md" and "mine" in command:
        return  # an objective that a reader is told how to add
    for option in OUTPUTS:  # a new folder, whatever the page calls it
        arguments = [f"{option}=new" if part.startswith(f"{option}=") else part for part in arguments]
    assert read_command(name, arguments) is not None


#: Added to the options of a command that is run, in place of its own: little of everything, without another machine.
_SMALL = {
    "evaluate": ["episodes=2", "workers=0", "videos=0", "log=none", "output=new"],
    "sweep": ["episodes=2", "workers=0", "results=new"],
    "export": ["output=new"],
    "compare": ["output=new"],
    "plan": [],
    "list": [],
}
#: What needs another machine, a learner's folder or what the strengths were tuned for, and suites, which take long.
_NOT_HERE = (
    "engine=ray",
    "compare DIR",
    "results/strengths_as_published.yaml",
    "eval_info.json",
    "task.id=Inverted",
    "design=",
)
_SUITES = ("task=six", "task=lift,can", "index=all")


def runnable(command: str) -> bool:
    name = command.split()[0].partition("=")[0]
    return (name in _SMALL or name == "task") and not any(part in command for part in _NOT_HERE + _SUITES)


RUNNABLE = [pair for pair in DOCUMENTED if runnable(pair[1])]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("page", "command"), RUNNABLE)
def test_a_documented_command_runs(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its options to its end, with the toy in place of simulator and checkpoints."""
    put_toy(monkeypatch)
    name, *given = shlex.split(command.replace("LABEL", "flow"))
    if "=" in name:
        name, given = "evaluate", [name, *given]
    arguments = [found for part in given for found in (sorted(map(str, Path().glob(part))) if "*" in part else [part])]
    small = {option.partition("=")[0] for option in _SMALL[name]}
    kept = [argument for argument in arguments if argument.partition("=")[0] not in small]
    assert cli.run([name, *kept, *_SMALL[name]]) == 0


def test_a_documented_make_target_or_module_exists() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^`?make ([a-z]+)|`make ([a-z]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    for module in set(re.findall(r"python -m ((?:benchmarks|scripts)\.\w+)", text)):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-") for heading in found}


LINKS = sorted(
    {
        (page.relative_to(ROOT).as_posix(), link)
        for page in [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "results").glob("*.md")]
        if page.suffix == ".md"
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
        if "://" not in link
    }
)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    place, _, anchor = link.partition("#")
    target = (ROOT / page).parent / place if place else ROOT / page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1000
