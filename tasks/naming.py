"""Task names: options select the task to build; one full name identifies it everywhere else."""

from __future__ import annotations

#: The task that builds any robosuite environment.
ANY_ROBOSUITE = "robosuite"

#: The tasks of OGBench's domains.
OGBENCH = "ogbench"

#: The task that is any registered Gymnasium environment.
GYMNASIUM = "gymnasium"


def domain_of(task: str) -> str | None:
    """The name of the domain of one of OGBench's tasks, "ogbench_cube-double"; None for others. `task`: full name."""
    domain, _, index = task.rpartition("_")
    return domain if domain.startswith(f"{OGBENCH}_") and index.isdigit() else None


def full_name(
    name: str,
    index: int = 0,
    env: str | None = None,
    perturbation: str | None = None,
    id: str | None = None,
    **_: object,
) -> str:
    """A task's name in keys, records and checkpoints, from the options that `make` takes.

    Task 0 of a suite has the suite's name, the others the suite's name and their index ("libero_goal_7"). A
    perturbation comes in between ("libero_goal_swap_7"). Other robosuite environments are "robosuite_Stack" and so on,
    OGBench's tasks "ogbench_cube-double_2", Gymnasium's environments "gymnasium_Reacher-v5": the id without its module,
    with _ for /.
    """
    if name == GYMNASIUM:
        return f"{name}_{str(id).rpartition(':')[2].replace('/', '_')}"
    if name == OGBENCH:
        return f"{name}_{env}_{index}"
    if name == ANY_ROBOSUITE:
        return f"{name}_{env}"
    suite = f"{name}_{perturbation}" if perturbation else name
    return f"{suite}_{index}" if index else suite
