"""What a task is called: options say which task to build, one name stands for it everywhere else."""

from __future__ import annotations

#: The task that is any of robosuite's environments.
ANY_ROBOSUITE = "robosuite"


def full_name(name: str, index: int = 0, env: str | None = None, perturbation: str | None = None, **_: object) -> str:
    """The name that keys, records and checkpoints know a task by, from the options that `make` takes.

    A suite's task 0 is known by the suite's name, its others by suite and index ("libero_goal_7"), those of a perturbed
    suite by its perturbation, too ("libero_goal_swap_7"), an environment of robosuite's by its own name
    ("robosuite_Stack").
    """
    if name == ANY_ROBOSUITE:
        return f"{name}_{env}"
    suite = f"{name}_{perturbation}" if perturbation else name
    return f"{suite}_{index}" if index else suite
