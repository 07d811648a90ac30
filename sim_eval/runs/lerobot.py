"""LeRobot's eval_info.json, as `lerobot-eval` writes it.

Format: github.com/huggingface/lerobot, src/lerobot/scripts/lerobot_eval.py, `eval_policy_all`, versions 0.4.4 and 0.6.1
(which adds `predicted_video_paths`). `per_task` lists task_group, task_id and metrics with a list entry per episode;
`per_group` and `overall` hold pc_success in per cent and n_episodes. It names no policy, and no start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields
from sim_eval.runs.foreign import (
    ForeignEpisode,
    ForeignResults,
    check_rate,
    from_counts,
    group_and_index,
    name_of,
    read_name,
    read_success,
    successes_of,
)
from sim_eval.runs.records import Record

HARNESS = "LeRobot"


def is_eval_info(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is an eval_info.json."""
    return "per_task" in content or "per_group" in content


def read_eval_info(where: str, content: Mapping[str, Any]) -> ForeignResults:
    """The episodes of each task; of each group, by its counts, if the file lists no task.

    Raises RunError naming the file and the value that is not LeRobot's.
    """
    check_fields(where, {"per_group": {}, **content}, {"per_group": dict[str, dict[str, Any]]})
    groups = content.get("per_group", {})
    if "per_task" not in content:
        counted = {
            read_name(f"{where}: a group in per_group", group): from_counts(
                f"{where}: per_group {group}", values, "n_episodes", "pc_success", 100
            )
            for group, values in groups.items()
        }
        return ForeignResults(HARNESS, counted)
    check_fields(where, content, {"per_task": list[dict[str, Any]]})
    tasks: dict[str, list[ForeignEpisode]] = defaultdict(list)
    by_group: dict[str, list[ForeignEpisode]] = defaultdict(list)
    for number, entry in enumerate(content["per_task"]):
        group, name, episodes = _task(f"{where}: per_task {number}", entry)
        tasks[name] += episodes
        by_group[group] += episodes
    for group, episodes in by_group.items():
        if group in groups and episodes:
            stated = groups[group].get("pc_success")
            rate = f"{where}: pc_success of per_group {group}"
            check_rate(rate, stated, successes_of(episodes), len(episodes), 100)
    return ForeignResults(HARNESS, dict(tasks))


def _task(where: str, entry: dict[str, Any]) -> tuple[str, str, list[ForeignEpisode]]:
    """The group, the task's full name and its episodes."""
    check_fields(where, entry, {"task_group": str, "task_id": int, "metrics": dict[str, Any]})
    check_fields(where, entry["metrics"], {"successes": list[Any]})
    group = read_name(f"{where}: task_group", entry["task_group"])
    successes = entry["metrics"]["successes"]
    episodes = [ForeignEpisode(read_success(f"{where} episode {i}", value)) for i, value in enumerate(successes)]
    return group, name_of(group, entry["task_id"]), episodes


def eval_info(tasks: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """The content of an eval_info.json from each task's records without errors, at least one in all.

    The reward of an episode is 1 if it succeeds, else 0, as in LIBERO. Raises RunError for a task without records.
    """
    if empty := [task for task, records in tasks.items() if not records]:
        raise RunError(
            f"no episode of {', '.join(empty)} ended without an error: LeRobot's format has no place for one"
        )
    groups: dict[str, list[Record]] = defaultdict(list)
    for task, records in tasks.items():
        groups[group_and_index(task)[0]] += records
    everything = [record for records in tasks.values() for record in records]
    seconds = sum(record.wall_s for record in everything)
    timed = {"eval_s": seconds, "eval_ep_s": seconds / len(everything)}
    return {
        "per_task": [_entry(task, records) for task, records in tasks.items()],
        "per_group": {group: _aggregate(records) for group, records in groups.items()},
        "overall": {**_aggregate(everything), **timed},
    }


def _entry(task: str, records: Sequence[Record]) -> dict[str, Any]:
    group, index = group_and_index(task)
    rewards = [float(record.success) for record in records]
    metrics = {"sum_rewards": rewards, "max_rewards": rewards, "successes": [record.success for record in records]}
    return {"task_group": group, "task_id": index, "metrics": {**metrics, "video_paths": []}}


def _aggregate(records: Sequence[Record]) -> dict[str, Any]:
    rate = sum(record.success for record in records) / len(records)
    rates = {"avg_sum_reward": rate, "avg_max_reward": rate, "pc_success": 100 * rate}
    return {**rates, "n_episodes": len(records), "video_paths": []}
