"""The options of learning a critic while it steers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_eval.config.engine import EngineOptions
from sim_eval.config.options import Given, option, options_of
from sim_eval.config.samplers import build_sampler
from sim_eval.config.values import shown
from sim_eval.evaluation.options import RolloutOptions, default_output
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import sha256
from sim_eval.models.strengths import SHIPPED, fill_strengths, known_strengths
from sim_eval.runs.outputs import check_folder
from sim_eval.runs.stored_options import stored_options
from sim_eval.training.critic_options import CriticTraining, check_actions_everywhere
from sim_eval.training.names import BOOTSTRAPPING, BOOTSTRAPS, LEAST_STEPS, METHODS, PLAY, TD

if TYPE_CHECKING:
    from sim_eval.samplers.sampler import Sampler

_STORED = (
    *("seed", "episodes", "batch", "rollouts", "method", "heads", "pessimism", "refit", "updates", "rows", "round"),
    *("explore", "best_of_n", "strengths"),
)


@dataclass(frozen=True, kw_only=True)
class LearnOptions(CriticTraining, EngineOptions, RolloutOptions):
    """Learn a critic while it steers the frozen policy."""

    samplers: tuple[str, ...] = option(("qpilots_u",), "the sampler that draws with the critic that is learned")
    steps: int = option(60000, "environment steps to play, steered", least=0)
    rollouts: int = option(256, "episodes of the frozen policy that the replay starts with", least=2)
    method: str = option(
        "outcome",
        "outcome (value of the state that a chunk leads to), monte_carlo_return (how soon), monte_carlo (whether), "
        "sarsa, iql, ivl (a critic as outcome's, for any data: V is what a good policy would return); with data also "
        "td (temporal differences, see bootstrap)",
        choices=(*METHODS, TD),
    )
    data: tuple[Path, ...] = option(
        (),
        "files that the critic learns from first, and beside its own episodes: OGBench's play, .npz, or episodes of "
        "this task, .hdf5. Then no rollouts are played, method is td, sarsa, iql, ivl or monte_carlo_return, and the "
        "critic always goes on from its weights",
    )
    offline: int = option(100000, "optimiser steps on the data before the first episode; needs data", least=1)
    bootstrap: str = option(
        "best",
        "what method=td values at a chunk's end: policy (the mean over draws of the frozen policy), best (the best of "
        "them), steered (a chunk of the sampler; slow)",
        choices=BOOTSTRAPS,
    )
    draws: int = option(4, "draws of the frozen policy for bootstrap=policy and best", least=1)
    pessimism: float = option(0.0, "Q is the heads' mean minus this many of their standard deviations", least=0)
    refit: bool = option(True, "after each round fit the critic anew; false: go on from its weights")
    updates: int = option(1500, "optimiser steps of the critic after each round", least=LEAST_STEPS)
    rows: int = option(256, "rows of a mini-batch", least=1)
    round: int = option(64, "episodes that are played with the same critic", least=1)
    explore: float = option(
        1.5,
        "training steers each decision at a random strength, up to this many times the evaluation's; 0: at the "
        "evaluation's",
        least=0,
    )
    best_of_n: float = option(0.33, "share of a round's episodes that best_of_n plays", least=0, most=1)
    strengths: tuple[float, ...] = option(
        (),
        "strengths to choose from on the tune block before the last evaluation, such as 1,2,3; []: keep the sampler's",
        least=0,
    )
    overlap: bool = option(
        False,
        "play the next round while the critic is fitted, steered by the fit before: all cores are busy, and a round's "
        "lessons steer a round later",
    )
    evaluate: int = option(10000, "environment steps between two evaluations", least=1)
    episodes: int = option(50, "paired episodes of an evaluation, from the eval block of keys", least=1)
    batch: int = option(16, "episodes that run at the same time", least=1)
    seed: int = option(0, "determines keys, weights and batches", least=0)
    output: Path = option(
        None, "folder, resumed if it exists; null: runs/learn-<task>-<policy>-<sampler>-<time>", kind="Path | None"
    )

    @staticmethod
    def resolve(given: Given) -> None:
        samplers, task, policy = given["sampler"], given["task"], given["policy"].label
        if len(samplers) != 1:
            raise RunError(f"samplers is {shown(tuple(samplers))}; accepted: one sampler")
        (name,) = samplers
        tuned = known_strengths(SHIPPED, task.full_name, policy, None, samplers, given["method"])
        given["sampler"], _ = fill_strengths(samplers, tuned, f"task={task.full_name} policy={policy}")
        config, strengths, explore = given["sampler"][name], given["strengths"], given["explore"]
        if strengths and "strength" not in config:
            raise RunError(
                f"strengths is {shown(strengths)}, and sampler {name} has no strength; accepted: strengths=[]"
            )
        if explore and config.get("scale", "exact") != "exact":
            raise RunError(
                f"explore is {explore}, and sampler.{name}.scale is {config['scale']}, on which the size of Q does not "
                "count; accepted with it: explore=0"
            )
        check_actions_everywhere("actions_everywhere", given["actions_everywhere"], [given["method"]])
        _check_data(given)
        given["output"] = given["output"] or default_output("learn", task.name, policy, name)
        check_folder("output", given["output"])

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
            "task": self.task.stored(),
            "policy": self.policy.label,
            "sampler": {self.sampler_name: stored_options(self.sampler[self.sampler_name])},
            "evaluate": self.evaluate,
            **{name: getattr(self, name) for name in _STORED},
            **{name: value for name in _SINCE if (value := getattr(self, name)) != _DEFAULTS[name].default},
            **({"data": [sha256(path) for path in self.data], "offline": self.offline} if self.data else {}),
        }


#: Options that folders of earlier versions lack: stored where they are not at their defaults.
_SINCE = ("bootstrap", "draws", "discount", "backup_pessimism", "width", "depth", "actions_everywhere", "overlap")
_DEFAULTS = options_of(LearnOptions)


def _check_data(given: Given) -> None:
    """Raise RunError for data that are no files, and for options that do not go with data, or without."""
    method, data = given["method"], given["data"]
    for path in data:
        if not path.is_file() or path.suffix not in (PLAY, ".hdf5"):
            raise RunError(f"data names {path}; accepted: files of play, .npz, or of episodes, .hdf5")
    if data and method not in BOOTSTRAPPING:
        raise RunError(f"method is {method}, and data is given; accepted with it: {', '.join(BOOTSTRAPPING)}")
    if not data and method == TD:
        raise RunError(f"method is {TD}, and data is empty; accepted: data=FILE, or {', '.join(METHODS)}")
    if not data and "offline" in given.named:
        raise RunError("offline is given, and data is empty; accepted with it: data=FILE")
