"""Processes that work through items: results in order, and an end to all of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim_eval.rollout.workers import work_through
from tasks.task import Task
from tests.toy_task import ToyTask

ROOT = Path(__file__).parent.parent


def double(task: Task, item: int) -> int:
    return 2 * item


def sleep(task: Task, item: float) -> float:
    time.sleep(item)
    return item


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(work_through(range(7), double, ToyTask, workers)) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("items", [(0.0, 0.0, 300.0, 300.0), (0.0, 300.0)], ids=["busy", "one idle"])
def test_workers_end_when_their_parent_is_killed(items: tuple[float, ...]) -> None:
    """Two workers; the parent is killed after the first result, while they work or wait for more."""
    script = (
        "from sim_eval.rollout.workers import work_through\n"
        "from tests.test_workers import sleep\n"
        "from tests.toy_task import ToyTask\n"
        f"for _ in work_through({items}, sleep, ToyTask, 2): print('ready', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"ready\n"
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(workers) >= 2
        process.kill()
        process.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # workers end with their parent
        time.sleep(0.05)
