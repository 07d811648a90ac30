"""Starts the engine that the option `engine` names."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from sim_eval.config.engine import Cluster, Workers
from sim_eval.foundation.errors import RunError
from sim_eval.rollout import workers as local
from sim_eval.rollout.environment import MakeTask
from tasks.task import Task

if TYPE_CHECKING:  # it loads torch, which processes that only draw videos do without
    from sim_eval.rollout.engine import Engine

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_engine(
    make_task: MakeTask, workers: Workers, batch: int, apart: bool = False, each: int | None = None
) -> Engine:
    """The engine, which plays `batch` episodes of the task at the same time; on a cluster, each worker does.

    `apart`: this process has other work in the meantime, so that worker processes decide, too, if they can. `each`: as
    of a `LocalEngine`.
    Raises RunError if Ray is not installed, no cluster answers, or none of its machines has room for a worker.
    """
    if not isinstance(workers, Cluster):
        from sim_eval.rollout.local_engine import LocalEngine

        return LocalEngine(make_task, workers, batch, apart, each)
    check_ray()
    from sim_eval.rollout.ray_engine import RayEngine

    return RayEngine(make_task, workers, batch)


def work_through(
    items: Sequence[Item], work: Callable[[Task, Item], Result], make_task: MakeTask, workers: Workers
) -> Generator[Result]:
    """Yield `work(task, item)` for each item, in order; each process or worker of the cluster keeps its own task.

    Items, `work`, `make_task` and results must pickle. Raises what `work` raises, and RunError if a process dies.
    """
    if not isinstance(workers, Cluster):
        yield from local.work_through(items, work, make_task, workers)
        return
    check_ray()
    from sim_eval.rollout.ray_engine import RayEngine

    with RayEngine(make_task, workers, batch=1) as engine, closing(engine.work(items, work)) as results:
        yield from results


def check_ray() -> None:
    """Raise RunError if Ray is not installed."""
    try:
        import ray  # noqa: F401 - takes a second, and is asked for here alone
    except ImportError as error:
        raise RunError(
            f'engine is ray, and Ray cannot be imported ({error}); install the extra: pip install "sim-eval[ray]"'
        ) from None
