"""One toy run into a folder; a program too, that a test can kill: `-m tests.toy_run FOLDER WORKERS STEP_S`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim_eval.config.components import Component
from sim_eval.config.engine import RayOptions
from sim_eval.config.tasks import TaskChoice
from sim_eval.evaluation.evaluate import evaluate
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.evaluation.progress import Progress
from sim_eval.foundation.errors import RunError
from sim_eval.runs.records import Record
from sim_eval.samplers.sampler import Models, Sampler
from tests.toy_models import ToyCritic, ToyDenoiser, ToySampler
from tests.toy_task import ToyTask

SAMPLERS: dict[str, Sampler] = {"unsteered": ToySampler(), "best_of_n": ToySampler(n=3)}


def settings(output: Path, samplers: Sequence[str] = ("unsteered", "best_of_n"), **changes: Any) -> EvaluateOptions:
    """Toy samplers over 10 episodes."""
    options: dict[str, Any] = {
        "task": TaskChoice("toy", {"stepping": "fast"}),
        "policy": Component("toy"),
        "critic": Component("toy"),
        "posterior": Component("default"),
        "sampler": {name: {"n": {"unsteered": 1, "best_of_n": 3}[name]} for name in samplers},
        "episodes": 10,
        "seed": 0,
        "block": "eval",
        "workers": 0,
        "ray": RayOptions(),
        "batch": 4,
        "videos": 0,
        "log": "none",
        "checkpoints": None,
        "output": output,
    }
    return EvaluateOptions(**{**options, **changes})


def run(
    output: Path,
    make_task: Any = ToyTask,
    models: Models | None = None,
    fingerprints: Mapping[str, str] = {"policy": "abc"},
    **changes: Any,
) -> list[Record]:
    """Evaluate the toy samplers into `output`."""
    asked = settings(output, **changes)
    samplers = {name: SAMPLERS[name] for name in asked.sampler}
    chosen = models or Models(ToyDenoiser(), ToyCritic(), fingerprints=fingerprints)
    with Progress(asked.episodes * len(samplers)) as progress:
        return evaluate(asked, samplers, make_task, chosen, progress)


if __name__ == "__main__":
    try:
        run(
            Path(sys.argv[1]),
            workers=int(sys.argv[2]),
            make_task=functools.partial(ToyTask, step_s=float(sys.argv[3])),
        )
    except RunError as error:
        sys.exit(f"error: {error}")
