"""Run folders that want to do harm, or are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sim_eval.runs.videos import update_index
from tests import made_run

#: Would name itself in the title of a page that takes it for markup.
MARKUP = "<img src=x onerror=\"document.title='harmed'\">"

_DEEP = "[" * 100_000


def write(root: Path) -> dict[str, Path]:
    """Folders below `root` by what is wrong with them. "markup", "bytes" and "videos elsewhere" can be read."""
    root.mkdir(exist_ok=True)
    outcomes = {"unsteered": [0, 1], "qpilots_u": [1, 1]}

    def run(name: str, file: str | None = None, content: str | bytes = "") -> Path:
        folder = made_run.write(root / name, "made", outcomes)
        if file is not None:
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    first_line, *_ = (run("damaged record") / "records.jsonl").read_text().splitlines()
    folders = {
        "markup": made_run.write(
            root / MARKUP.replace("/", "_"), "made", outcomes, error=f"{MARKUP}\ud800", success=False
        ),
        "bytes": run(os.fsdecode(b"no \xff text")),
        "records of markup": run(
            "sampler", "records.jsonl", first_line.replace("unsteered", json.dumps(MARKUP)[1:-1]) + "\n"
        ),
        "damaged record": run("damaged record", "records.jsonl", f"{first_line}\n{first_line[:40]}\n{first_line}\n"),
        "deep record": run("deep record", "records.jsonl", f"{_DEEP}\n"),
        "not a number": run(
            "not a number", "records.jsonl", first_line.replace('"mean_q": ', '"mean_q": NaN, "x": ') + "\n"
        ),
        "noise": run("noise", "records.jsonl", bytes(range(256)) * 20 + b"\n"),
        "deep options": run("deep options", "config.yaml", f"task: {_DEEP[:3000]}"),
        "bomb": run("bomb", "config.yaml", _bomb()),
        "objects": run("objects", "config.yaml", f"task: !!python/object/apply:os.mkdir ['{root / 'made by yaml'}']\n"),
        "a list": run("a list", "config.yaml", "- 1\n"),
        "damaged videos": run("damaged videos", "videos.json", "{}"),
        "damaged provenance": run("damaged provenance", "provenance.json", '[{"command": 3}]'),
        "no options": run("no options"),
        "pipe": run("pipe"),
        "learner": root / "learner",
        "damaged curve": root / "damaged curve",
        "videos elsewhere": run("videos elsewhere"),
    }
    (folders["no options"] / "config.yaml").unlink()
    for pipe in ("config.yaml", "records.jsonl"):
        (folders["pipe"] / pipe).unlink()
        os.mkfifo(folders["pipe"] / pipe)
    folders["learner"].mkdir()
    (folders["learner"] / "options.json").write_text('{"task": {"name": "can"}, "policy": 3}')
    folders["damaged curve"].mkdir()
    options = {"task": {"name": "can"}, "policy": "flow", "sampler": {"edit": {}}, "evaluate": 100, "seed": 0}
    (folders["damaged curve"] / "options.json").write_text(json.dumps(options))
    (folders["damaged curve"] / "curve.json").write_text('[{"steps": "many"}]')
    elsewhere = root.parent / "secret.mp4"
    elsewhere.write_bytes(b"secret")
    (folders["videos elsewhere"] / "link.mp4").symlink_to(elsewhere)
    shows = [
        {"file": name, "shows": [{"sampler": "unsteered", "episode": number}]}
        for number, name in enumerate(("../../secret.mp4", "link.mp4"))
    ]
    (folders["videos elsewhere"] / "videos.json").write_text(json.dumps(shows))
    film = folders["bytes"] / "film.mp4"
    film.write_bytes(b"no film")
    update_index(folders["bytes"], {film: (("unsteered", 0),)})
    (root / "loop").symlink_to(root)
    return folders


def _bomb() -> str:
    """A few lines that stand for 9 ** 9 entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    return "\n".join(lines)
