"""Run folders that want to do harm, or are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks import made_run
from sim_eval.runs.videos import update_index

#: Would name itself in the title of a page that takes it for markup.
MARKUP = "<img src=x onerror=\"document.title='harmed'\">"

_OUTCOMES = {"unsteered": [0, 1], "qpilots_u": [1, 1]}
_DEEP = "[" * 100_000


def write(root: Path) -> dict[str, Path]:
    """Folders below `root` by what is wrong with them. "markup", "bytes" and "videos elsewhere" can be read."""
    root.mkdir(exist_ok=True)
    folders = {
        "markup": made_run.write(
            root / MARKUP.replace("/", "_"), "made", _OUTCOMES, error=f"{MARKUP}\ud800", success=False
        ),
        "bytes": _run(root / os.fsdecode(b"no \xff text")),
        "no options": _run(root / "no options"),
        "pipe": _run(root / "pipe"),
        "videos elsewhere": _run(root / "videos elsewhere"),
        **_damaged(root),
        **_learners(root),
    }
    video = folders["bytes"] / "film.mp4"
    video.write_bytes(b"no film")
    update_index(folders["bytes"], {video: (("unsteered", 0),)})
    (folders["no options"] / "config.yaml").unlink()
    for pipe in ("config.yaml", "records.jsonl"):
        (folders["pipe"] / pipe).unlink()
        os.mkfifo(folders["pipe"] / pipe)
    _show_elsewhere(folders["videos elsewhere"], root.parent / "secret.mp4")
    (root / "loop").symlink_to(root)
    return folders


def _run(folder: Path) -> Path:
    return made_run.write(folder, "made", _OUTCOMES)


def _damaged(root: Path) -> dict[str, Path]:
    """Runs of which one file holds something else."""
    line, *_ = (_run(root / "damaged record") / "records.jsonl").read_text().splitlines()
    contents: dict[str, tuple[str, str | bytes]] = {
        "records of markup": ("records.jsonl", line.replace("unsteered", json.dumps(MARKUP)[1:-1]) + "\n"),
        "damaged record": ("records.jsonl", f"{line}\n{line[:40]}\n{line}\n"),
        "deep record": ("records.jsonl", f"{_DEEP}\n"),
        "not a number": ("records.jsonl", line.replace('"mean_q": ', '"mean_q": NaN, "x": ') + "\n"),
        "noise": ("records.jsonl", bytes(range(256)) * 20 + b"\n"),
        "deep options": ("config.yaml", f"task: {_DEEP[:3000]}"),
        "bomb": ("config.yaml", _bomb()),
        "objects": ("config.yaml", f"task: !!python/object/apply:os.mkdir ['{root / 'made by yaml'}']\n"),
        "a list": ("config.yaml", "- 1\n"),
        "damaged videos": ("videos.json", "{}"),
        "damaged provenance": ("provenance.json", '[{"command": 3}]'),
    }
    folders = {name: _run(root / name) for name in contents}
    for name, (file, content) in contents.items():
        (folders[name] / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folders


def _bomb() -> str:
    """A few lines that stand for 9 ** 9 entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    return "\n".join(lines)


def _learners(root: Path) -> dict[str, Path]:
    """Damaged folders of sim-eval learn."""
    options = {"task": {"name": "can"}, "policy": "flow", "sampler": {"edit": {}}, "evaluate": 100, "seed": 0}
    folders = {name: root / name for name in ("learner", "damaged curve")}
    for folder in folders.values():
        folder.mkdir()
    (folders["learner"] / "options.json").write_text('{"task": {"name": "can"}, "policy": 3}')
    (folders["damaged curve"] / "options.json").write_text(json.dumps(options))
    (folders["damaged curve"] / "curve.json").write_text('[{"steps": "many"}]')
    return folders


def _show_elsewhere(folder: Path, elsewhere: Path) -> None:
    """Have the run's videos be a file outside of it, by a path and by a link."""
    elsewhere.write_bytes(b"secret")
    (folder / "link.mp4").symlink_to(elsewhere)
    shows = [
        {"file": name, "shows": [{"sampler": "unsteered", "episode": number}]}
        for number, name in enumerate((f"../../{elsewhere.name}", "link.mp4"))
    ]
    (folder / "videos.json").write_text(json.dumps(shows))
