"""Paired simulation evaluation of inference-time steering for frozen robot policies.

The public API. Each name is imported when it is first used, so that worker processes, which draw no action, need not
load torch.

Policies and critics of your own: `Policy`, `Denoiser`, `Critic`, `ObservationRequest`. Tasks: `Task`, `TaskSpec`,
`ArraySpec`, `Outcome`, `EpisodeKey`. Samplers: `Sampler`, `Models` and those of `sim_eval.samplers`. What to do with
them: `evaluate`, `compare`, `render`, `read_runs`. Errors: `RunError`, `TaskError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim_eval.own_packages import refuse_shadowed_packages

if TYPE_CHECKING:
    from critics.critic import Critic
    from policies.observation import ObservationRequest
    from policies.policy import Denoiser, Policy, Posterior
    from sim_eval.api import compare, evaluate, read_runs, render
    from sim_eval.errors import RunError
    from sim_eval.runs.reader import Run
    from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
    from tasks.task import ArraySpec, EpisodeKey, Outcome, Task, TaskError, TaskSpec

#: Where each public name is defined.
_PUBLIC = {
    "critics.critic": ("Critic",),
    "policies.observation": ("ObservationRequest",),
    "policies.policy": ("Denoiser", "Policy", "Posterior"),
    "sim_eval.api": ("compare", "evaluate", "read_runs", "render"),
    "sim_eval.errors": ("RunError",),
    "sim_eval.runs.reader": ("Run",),
    "sim_eval.samplers": ("BestOfN", "Models", "QPilotsM", "QPilotsU", "Sampler", "Unsteered", "ValueGuided"),
    "tasks.task": ("ArraySpec", "EpisodeKey", "Outcome", "Task", "TaskError", "TaskSpec"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "ArraySpec",
    "BestOfN",
    "Critic",
    "Denoiser",
    "EpisodeKey",
    "Models",
    "ObservationRequest",
    "Outcome",
    "Policy",
    "Posterior",
    "QPilotsM",
    "QPilotsU",
    "Run",
    "RunError",
    "Sampler",
    "Task",
    "TaskError",
    "TaskSpec",
    "Unsteered",
    "ValueGuided",
    "compare",
    "evaluate",
    "read_runs",
    "render",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


refuse_shadowed_packages()
