"""The options of `sim-eval-probe`, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.config.components import Component
from sim_eval.config.compose import compose, folder
from sim_eval.config.values import listed, not_negative, whole
from sim_eval.errors import RunError
from sim_eval.evaluation.settings import TunedSettings, default_output, read_rollouts, read_tuned

#: The sampler that draws from the frozen policy; its `steps` are those of every draw of a probe.
UNSTEERED = "unsteered"

#: The file of a probe's figures, and the page of them.
PROBE, PAGE = "probe.json", "probe.html"


@dataclass(frozen=True, kw_only=True)
class ProbeSettings(TunedSettings):
    """What is probed. `sampler` begins with `UNSTEERED`. `decisions`: of each episode, at which chunks are compared.

    strengths_tried: at least one. data: files of rollouts, none for those beside the critic. oracle: the number of
    episodes that the exact look-ahead plays.
    """

    critic: Component
    decisions: int
    strengths_tried: tuple[float, ...]
    data: tuple[Path, ...]
    oracle: int
    output: Path

    @property
    def steps(self) -> int:
        """Denoising steps of the policy's own draws."""
        return int(self.sampler[UNSTEERED]["steps"])

    def stored(self) -> dict[str, Any]:
        """The options that the figures depend on, as plain values."""
        return {
            "task": dict(self.task),
            "policy": self.policy.label,
            "critic": self.critic.label,
            "sampler": {name: dict(config) for name, config in self.sampler.items()},
            **{name: getattr(self, name) for name in ("seed", "episodes", "decisions", "oracle")},
            "strengths_tried": list(self.strengths_tried),
            "data": [str(path) for path in self.data],
        }


def read_probe_settings(arguments: Sequence[str]) -> ProbeSettings:
    """`sim-eval-probe`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("probe", arguments)
    others = [name for name in config["samplers"] or () if name != UNSTEERED]
    rollouts = read_rollouts({**config, "samplers": [UNSTEERED, *others]})
    if rollouts["critic"] is None:
        raise RunError("critic is none; a critic is what is probed; accepted: default, or another critic")
    measured = _read_measured(config, rollouts["episodes"])
    task, policy = rollouts["task"]["name"], rollouts["policy"].label
    output = default_output("probe", task, policy) if config["output"] is None else folder(config["output"])
    if (output / PROBE).exists():
        raise RunError(f"output={output} holds the figures of a probe, which are kept; accepted: another output=DIR")
    return ProbeSettings(**{**rollouts, **read_tuned(config, rollouts)}, **measured, output=output)


def _read_measured(config: Mapping[str, Any], episodes: int) -> dict[str, Any]:
    """The fields of `ProbeSettings` that say what is measured."""
    tried = [not_negative("strengths_tried", value) for value in listed("strengths_tried", config["strengths_tried"])]
    oracle = whole("oracle", config["oracle"], 0)
    if oracle > episodes:
        raise RunError(f"oracle is {oracle}, and episodes is {episodes}; accepted: a whole number from 0 to episodes")
    return {
        "decisions": whole("decisions", config["decisions"], 1),
        "strengths_tried": tuple(sorted(set(tried))),
        "data": tuple(folder(str(path)) for path in config["data"] or ()),
        "oracle": oracle,
    }
