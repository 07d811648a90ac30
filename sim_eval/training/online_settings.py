"""The options of `sim-eval-learn`, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critics.objectives import OBJECTIVES
from sim_eval.config.compose import compose, folder
from sim_eval.config.samplers import build_sampler
from sim_eval.config.tasks import task_name
from sim_eval.config.values import not_negative, one_of, shown, whole
from sim_eval.errors import RunError
from sim_eval.evaluation.settings import RolloutSettings, default_output, read_rollouts
from sim_eval.models.strengths import SHIPPED, fill_strengths, known_strengths
from sim_eval.runs.sampler_options import stored_options
from sim_eval.samplers.sampler import Sampler
from sim_eval.training.fit import LEAST_STEPS

_STORED = (
    *("seed", "episodes", "batch", "rollouts", "method", "heads", "pessimism", "refit", "updates", "rows", "round"),
    *("explore", "best_of_n", "strengths"),
)


@dataclass(frozen=True, kw_only=True)
class LearnSettings(RolloutSettings):
    """What is learned, from how much data, and where it is kept. The fields are the options of configs/learn.yaml."""

    steps: int
    rollouts: int
    method: str
    heads: int
    pessimism: float
    refit: bool
    updates: int
    rows: int
    round: int
    explore: float
    best_of_n: float
    strengths: tuple[float, ...]
    evaluate: int
    output: Path

    @property
    def sampler_name(self) -> str:
        return next(iter(self.sampler))

    def build_sampler(self, strength: float | None = None) -> Sampler:
        """The sampler, at another strength if one is given. Raises RunError for a field value that it refuses."""
        changed = {} if strength is None else {"strength": strength}
        return build_sampler(self.sampler_name, {**self.sampler[self.sampler_name], **changed})

    def stored(self) -> dict[str, Any]:
        """The options that a run that goes on must share, as plain values."""
        return {
            "task": dict(self.task),
            "policy": self.policy.label,
            "sampler": {self.sampler_name: stored_options(self.sampler[self.sampler_name])},
            "evaluate": self.evaluate,
            **{name: getattr(self, name) for name in _STORED},
        }


def read_learn_settings(arguments: Sequence[str]) -> LearnSettings:
    """`sim-eval-learn`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("learn", arguments)
    if given := [option for option in config["given"] if option.partition(".")[0] == "critic"]:
        raise RunError(f"{given[0]} is given, and a critic is learned here; accepted: no option critic")
    rollouts = read_rollouts({**config, "critic": "none"})
    if len(rollouts["sampler"]) != 1:
        raise RunError(f"samplers is [{', '.join(rollouts['sampler'])}]; accepted: one sampler")
    name = next(iter(rollouts["sampler"]))
    task, policy = rollouts["task"], rollouts["policy"].label
    tuned = known_strengths(SHIPPED, task_name(task), policy, None, rollouts["sampler"], config["method"])
    rollouts["sampler"], _ = fill_strengths(rollouts["sampler"], tuned, f"task={task_name(task)} policy={policy}")
    counts: dict[str, Any] = {option: whole(option, config[option], 1) for option in ("heads", "rows", "round")}
    settings = LearnSettings(
        **rollouts,
        **counts,
        steps=whole("steps", config["steps"], 0),
        rollouts=whole("rollouts", config["rollouts"], 2),
        evaluate=whole("evaluate", config["evaluate"], 1),
        method=one_of("method", config["method"], OBJECTIVES),
        pessimism=not_negative("pessimism", config["pessimism"]),
        refit=config["refit"],
        updates=whole("updates", config["updates"], LEAST_STEPS),
        explore=not_negative("explore", config["explore"]),
        best_of_n=_share("best_of_n", config["best_of_n"]),
        strengths=_strengths(config["strengths"], name, rollouts["sampler"][name]),
        output=default_output("learn", task["name"], policy, name)
        if config["output"] is None
        else folder(config["output"]),
    )
    _check_explore(settings)
    return settings


def _share(option: str, value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RunError(f"{option} is {value}; accepted: a share from 0 to 1")
    return float(value)


def _strengths(values: Sequence[Any], name: str, sampler: Mapping[str, Any]) -> tuple[float, ...]:
    if values and "strength" not in sampler:
        raise RunError(f"strengths is {shown(values)}, and sampler {name} has no strength; accepted: strengths=[]")
    return tuple(not_negative("strengths", strength) for strength in values)


def _check_explore(settings: LearnSettings) -> None:
    """Raise RunError if the sampler's strength cannot be drawn anew for each decision."""
    scale = getattr(settings.build_sampler(), "scale", "exact")
    if settings.explore and scale != "exact":
        raise RunError(
            f"explore is {settings.explore}, and sampler.{settings.sampler_name}.scale is {scale}, on which the size "
            "of Q does not count; accepted with it: explore=0"
        )
