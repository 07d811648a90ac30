"""Paired simulation evaluation of inference-time steering for frozen robot policies.

The public API. Each name is imported on first use, so that worker processes, which draw no actions, do not load torch.

For your own policies and critics: `Policy`, `Denoiser`, `Posterior`, `Critic`, `ObservationRequest`, and the noise
schedules `LinearPath` and `CosineVP`. For tasks: `Task`, `TaskSpec`, `ArraySpec`, `Outcome`, `EpisodeKey`. For
samplers: `Sampler`, `Models`, and the shipped ones. Functions: `evaluate`, `compare`, `render`, `read_runs`, which
return or take a `Run`. Errors: `RunError`, `TaskError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim_eval.foundation.own_packages import refuse_shadowed_packages

if TYPE_CHECKING:
    from critics.critic import Critic
    from policies.observation import ObservationRequest
    from policies.policy import Denoiser, Policy, Posterior
    from policies.schedule import CosineVP, LinearPath, Schedule
    from sim_eval.api import compare, evaluate, read_runs, render
    from sim_eval.foundation.errors import RunError
    from sim_eval.runs.reader import Run
    from sim_eval.samplers import (
        DSRL,
        QGF,
        VGPS,
        BestOfN,
        Edit,
        Models,
        QPilotsM,
        QPilotsU,
        Sampler,
        Unsteered,
        ValueGuided,
    )
    from tasks.task import ArraySpec, EpisodeKey, Outcome, Task, TaskError, TaskSpec

#: Where each public name is defined.
_PUBLIC = {
    "critics.critic": ("Critic",),
    "policies.observation": ("ObservationRequest",),
    "policies.policy": ("Denoiser", "Policy", "Posterior"),
    "policies.schedule": ("CosineVP", "LinearPath", "Schedule"),
    "sim_eval.api": ("compare", "evaluate", "read_runs", "render"),
    "sim_eval.foundation.errors": ("RunError",),
    "sim_eval.runs.reader": ("Run",),
    "sim_eval.samplers": (
        "DSRL",
        "QGF",
        "VGPS",
        "BestOfN",
        "Edit",
        "Models",
        "QPilotsM",
        "QPilotsU",
        "Sampler",
        "Unsteered",
        "ValueGuided",
    ),
    "tasks.task": ("ArraySpec", "EpisodeKey", "Outcome", "Task", "TaskError", "TaskSpec"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "DSRL",
    "QGF",
    "VGPS",
    "ArraySpec",
    "BestOfN",
    "CosineVP",
    "Critic",
    "Denoiser",
    "Edit",
    "EpisodeKey",
    "LinearPath",
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
    "Schedule",
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
