"""Runs from whatever the user names: a run folder of this suite, or a result file of another harness."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sim_eval.foundation.bounded import MOST_JSON, parse_json, read_bytes
from sim_eval.foundation.errors import RunError
from sim_eval.runs.foreign import Described, ForeignResults, foreign_run, read_name
from sim_eval.runs.lerobot import is_eval_info, read_eval_info
from sim_eval.runs.reader import Run, read_run
from sim_eval.runs.vla_eval import is_result, read_result

_ACCEPTED = "LeRobot's eval_info.json, or a result file of vla-eval"


def read_sources(sources: Sequence[Path], described: Described) -> list[Run]:
    """The run of each folder, and a run for each task of each file; one named twice is read once.

    Runs are named after their folders or files, or by their relative paths if two of these have the same name.
    `described`: what the files do not say. Raises RunError for anything else, naming the file, the value and what is
    accepted.
    """
    paths = list(dict.fromkeys(source.resolve() for source in sources))
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        common = os.path.commonpath(paths)
        names = [os.path.relpath(path, common) for path in paths]
    return [run for path, name in zip(paths, names, strict=True) for run in _read(path, name, described)]


def _read(path: Path, name: str, described: Described) -> list[Run]:
    if not path.is_file():
        return [read_run(path, name)]
    read_name(f"{path}: the file's name", name)  # the label of its rows
    results = read_results(path)
    return [foreign_run(path, name, task, results, described) for task, episodes in results.tasks.items() if episodes]


def read_results(path: Path) -> ForeignResults:
    """The content of another harness's file. Raises RunError as `read_sources`."""
    where = str(path)
    try:
        content = parse_json(read_bytes(path, MOST_JSON), where)
    except RunError as error:
        raise RunError(f"{error}; accepted: {_ACCEPTED}") from None
    if isinstance(content, dict) and is_eval_info(content):
        results = read_eval_info(where, content)
    elif isinstance(content, dict) and is_result(content):
        results = read_result(where, content)
    else:
        held = ", ".join(map(repr, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise RunError(f"{path} holds {held:.80}; accepted: {_ACCEPTED}")
    if not any(results.tasks.values()):
        raise RunError(f"{path} holds no episode of {results.harness}")
    return results
