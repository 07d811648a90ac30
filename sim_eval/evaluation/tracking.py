"""Sends success rates to an experiment tracker during a run, where the option `log` names a tracker."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sim_eval.errors import RunError

#: Accepted values of `log`, each with the package that it needs.
TRACKERS = {"none": None, "tensorboard": "tensorboard", "wandb": "wandb"}

Track = Callable[[str, float, int], None]
"""Take a sampler's name, its success rate so far (a fraction) and the number of episodes that it is over."""


def check_installed(log: str) -> None:
    """Import the tracker's package, which set-up does not install. Raises RunError if it is missing."""
    package = TRACKERS[log]
    try:
        if package:
            importlib.import_module(package)
    except ImportError:
        raise RunError(f"log is {log}; the package {package} is not installed: pip install {package}") from None


@contextmanager
def tracking(log: str, folder: Path, config: Mapping[str, Any]) -> Iterator[Track]:
    """Send rates to TensorBoard files in the run folder, to a Weights & Biases run of that name, or nowhere."""
    if log == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(folder / "tensorboard") as writer:
            yield lambda sampler, rate, episodes: writer.add_scalar(f"success/{sampler}", rate, episodes)
    elif log == "wandb":
        wandb: Any = importlib.import_module("wandb")
        with wandb.init(project="sim-eval", name=folder.name, config=dict(config)) as run:
            run.define_metric("success/*", step_metric="episodes")
            yield lambda sampler, rate, episodes: run.log({f"success/{sampler}": rate, "episodes": episodes})
    else:
        yield lambda sampler, rate, episodes: None
