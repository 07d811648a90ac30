"""vla-eval's result files: `<benchmark>_aggregate.json`.

Format: github.com/allenai/vla-evaluation-harness, src/vla_eval/results/collector.py (`BenchmarkResult`, `TaskResult`,
`EpisodeResult`) and results/export.py (results/merge.py before 0.8), version 0.8.0 on the package registry. An episode
holds `metrics` with `success`; a `failure_reason` marks one that ended in an error, which vla-eval counts as a failure.
Exported episodes also hold their task's `suite` and `task_id`; two tasks of one instruction share an entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sim_eval.foundation.fields import check_fields
from sim_eval.runs.foreign import (
    ForeignEpisode,
    ForeignResults,
    check_rate,
    from_counts,
    group_and_index,
    is_suite,
    name_of,
    read_name,
    read_number,
    read_success,
    successes_of,
)
from sim_eval.runs.records import Record

HARNESS = "vla-eval"


def is_result(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a result file of vla-eval."""
    return "benchmark" in content and "tasks" in content


def read_result(where: str, content: Mapping[str, Any]) -> ForeignResults:
    """The episodes of each task, by counts for a task that lists none.

    An episode with a `failure_reason` is an error, not a failure. Raises RunError naming the file and the value that is
    not vla-eval's.
    """
    check_fields(where, content, {"tasks": list[dict[str, Any]]})
    tasks: dict[str, list[ForeignEpisode]] = defaultdict(list)
    for number, entry in enumerate(content["tasks"]):
        check_fields(f"{where}: tasks {number}", entry, {"task": str})
        name = read_name(f"{where}: task of tasks {number}", entry["task"])
        for task, episode in _episodes(f"{where}: task {name}", name, entry):
            tasks[task].append(episode)
    return ForeignResults(HARNESS, dict(tasks), tuple(_notes(content, tasks)))


def _episodes(where: str, name: str, entry: dict[str, Any]) -> list[tuple[str, ForeignEpisode]]:
    """Each episode of an entry with its task's full name."""
    if not entry.get("episodes"):
        return [(name, episode) for episode in from_counts(where, entry, "num_episodes", "mean_success", 1)]
    check_fields(where, entry, {"episodes": list[dict[str, Any]]})
    found = [
        (_name(name, stored), _episode(f"{where} episode {number}", stored))
        for number, stored in enumerate(entry["episodes"])
    ]
    if "mean_success" in entry:
        episodes = [episode for _, episode in found]
        check_rate(f"{where}: mean_success", entry["mean_success"], successes_of(episodes), len(episodes), 1)
    return found


def _name(entry: str, stored: Mapping[str, Any]) -> str:
    suite, index = stored.get("suite"), stored.get("task_id")
    return name_of(str(suite), index) if is_suite(suite) and type(index) is int and index >= 0 else entry


def _episode(where: str, stored: dict[str, Any]) -> ForeignEpisode:
    check_fields(where, stored, {"metrics": dict[str, Any]})
    check_fields(where, stored["metrics"], {"success": Any})
    optional = [name for name in ("failure_reason", "failure_detail") if name in stored]
    check_fields(where, stored, dict.fromkeys(optional, str | None))
    reason, detail = stored.get("failure_reason"), stored.get("failure_detail")
    return ForeignEpisode(
        success=read_success(where, stored["metrics"]["success"]),
        steps=int(read_number(f"{where}: steps", stored.get("steps", 0))),
        wall_s=read_number(f"{where}: elapsed_sec", stored.get("elapsed_sec", 0)),
        error=f"{reason}: {detail}" if reason and detail else reason or None,
    )


def _notes(content: Mapping[str, Any], tasks: Mapping[str, Sequence[ForeignEpisode]]) -> list[str]:
    notes = []
    episodes = [episode for group in tasks.values() for episode in group]
    if errors := sum(episode.error is not None for episode in episodes):
        notes.append(
            f"{errors} of {len(episodes)} episodes ended in an error; vla-eval counts them as failures, this report "
            "leaves them out"
        )
    if content.get("partial") or content.get("shard"):
        notes.append("vla-eval says that it holds only a part of the evaluation")
    return notes


def result(tasks: Mapping[str, Sequence[Record]], *, seed: int | None, created: str, version: str) -> dict[str, Any]:
    """The content of a result file from each task's records, errors included.

    `created`: time in ISO format. `version`: what stands in the place of the harness's own.
    """
    records = [record for group in tasks.values() for record in group]
    body: dict[str, Any] = {
        "benchmark": "_".join(dict.fromkeys(group_and_index(task)[0] for task in tasks)),
        "mode": "sync",
        "harness_version": version,
        "created_at": created,
        "tasks": [_entry(task, group) for task, group in tasks.items()],
        "config": {"params": {} if seed is None else {"seed": seed}},
        **({} if seed is None else {"seed": seed}),
        "metric_keys": {"success": "mean"},
        "mean_success": _mean_success(records),
        "num_episodes_total": len(records),
    }
    return body | _errors(records)


def _entry(task: str, records: Sequence[Record]) -> dict[str, Any]:
    instruction = next((record.instruction for record in records if record.instruction), task)
    suite, index = group_and_index(task)
    episodes = [_stored(record, {"suite": suite, "task_id": index} if is_suite(suite) else {}) for record in records]
    return {
        "task": instruction if is_suite(suite) else task,
        "episodes": episodes,
        "num_episodes": len(episodes),
        "avg_steps": sum(record.steps for record in records) / len(records),
        "mean_success": _mean_success(records),
    } | _errors(records)


def _stored(record: Record, context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "episode_id": record.episode,
        "metrics": {"success": record.success and record.error is None},
        "steps": record.steps,
        "elapsed_sec": record.wall_s,
        **context,
        **({} if record.error is None else {"failure_reason": "error", "failure_detail": record.error}),
    }


def _mean_success(records: Sequence[Record]) -> float:
    return round(sum(record.success and record.error is None for record in records) / len(records), 4)


def _errors(records: Sequence[Record]) -> dict[str, int]:
    count = sum(record.error is not None for record in records)
    return {"num_errors": count} if count else {}
