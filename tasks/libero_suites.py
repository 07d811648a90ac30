"""LIBERO's suites: how many tasks each has, and how long an episode lasts."""

from __future__ import annotations

from dataclasses import dataclass

#: Start states that LIBERO publishes per task; published success rates are measured on them.
INIT_STATES = 50

#: LIBERO-PRO's variants of a suite: reworded instructions, other objects, swapped positions, other goals.
PERTURBATIONS = ("lan", "object", "swap", "task")


@dataclass(frozen=True)
class LiberoSuite:
    """A suite's name, number of tasks, and the control steps per episode that published evaluations allow."""

    name: str
    tasks: int
    max_steps: int


SUITES = {
    suite.name: suite
    for suite in (
        LiberoSuite("libero_spatial", 10, 220),
        LiberoSuite("libero_object", 10, 280),
        LiberoSuite("libero_goal", 10, 300),
        LiberoSuite("libero_10", 10, 520),
        LiberoSuite("libero_90", 90, 400),
    )
}

#: By full name, such as "libero_goal_swap"; LIBERO-PRO has no variants of libero_90.
PERTURBED_SUITES = {
    f"{suite.name}_{perturbation}": LiberoSuite(f"{suite.name}_{perturbation}", suite.tasks, suite.max_steps)
    for suite in SUITES.values()
    if suite.name != "libero_90"
    for perturbation in PERTURBATIONS
}


def is_libero(task: str) -> bool:
    """Whether this full name of a task ("libero_goal", "libero_goal_7", "libero_goal_swap_7") is LIBERO's."""
    suites = {**SUITES, **PERTURBED_SUITES}
    return task in suites or task.rpartition("_")[0] in suites
