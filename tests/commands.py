"""Commands with the toy in place of simulator and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import sim_eval.models.build
import tasks
from policies.posterior_flow import PosteriorFlow
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.samplers.sampler import Models
from tasks.registry import TASKS
from tasks.task import TaskError
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import make_toy

#: What a message lists as accepted tasks.
ALL_TASKS = ", ".join(TASKS)
#: Options of a run that takes no time.
QUICK = ["samplers=[unsteered,best_of_n]", "episodes=3", "workers=0"]
#: A command, and its arguments: status, stdout, stderr. The fixtures `call` and `evaluated`.
Call = Callable[..., tuple[int, str, str]]


def put_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy in place of simulator and checkpoints."""

    def build_models(*arguments: Any) -> Models:
        policy = ToyDenoiser()
        prints = {"policy": "abc", "critic": "def"}
        return Models(policy, ToyCritic(), PosteriorFlow(policy, steps=2), fingerprints=prints)

    monkeypatch.setattr(sim_eval.models.build, "build_models", build_models)
    monkeypatch.setattr(tasks, "make", make_toy)


def message(arguments: Sequence[str]) -> str:
    """What the evaluation says of these arguments, which it must refuse."""
    with pytest.raises((RunError, TaskError)) as error:
        read_command("evaluate", arguments).build_samplers()
    return str(error.value)
