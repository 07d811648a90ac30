"""The options of a probe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim_eval.config.components import Component
from sim_eval.config.options import Choice, Given, option
from sim_eval.config.values import worker_count
from sim_eval.evaluation.options import TunedOptions, default_output
from sim_eval.foundation.errors import RunError
from sim_eval.runs.outputs import check_folder

#: The sampler that draws from the frozen policy; its `steps` are those of every draw of a probe.
UNSTEERED = "unsteered"

#: The file of a probe's figures, and the page of them.
PROBE, PAGE = "probe.json", "probe.html"


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(TunedOptions):
    """Measure whether a critic can steer a frozen policy."""

    critic: Component = option(Choice("default"), "the critic that is probed, as for sim-eval evaluate", kind="Choice")
    samplers: tuple[str, ...] = option(
        (UNSTEERED,),
        "samplers whose chunks are compared with the policy's own draws; unsteered, the check, is always one of them",
    )
    episodes: int = option(
        100,
        "unsteered episodes, from the tune block of keys; each is played again with the critic's choice at one early "
        "decision",
        least=1,
    )
    decisions: int = option(5, "decisions of each episode, drawn at random, at which chunks are compared", least=1)
    strengths_tried: tuple[float, ...] = option(
        (0.3, 0.6, 1, 2, 3, 4),
        "at which each of samplers that has a strength steers for one of two twins of the critic, and both judge",
        least=0,
        entries=1,
    )
    data: tuple[Path, ...] = option(
        (),
        "files of rollouts of this policy, as sim-eval train stage=rollouts writes them, that the twins are fitted to; "
        "[]: the episodes in critic=FOLDER of a sim-eval learn",
    )
    oracle: int = option(
        0,
        "of the first so many episodes, how many the exact look-ahead solves, choosing among 8 draws by the outcome "
        "critic's V; 0: it does not play",
        least=0,
    )
    batch: int = option(16, "episodes that run at the same time", least=1)
    workers: int = option(
        None, "worker processes; 0: everything in this process; null: one per core", least=0, kind="int | None"
    )
    output: Path = option(
        None, "folder of probe.json and probe.html; null: runs/probe-<task>-<policy>-<time>", kind="Path | None"
    )

    @staticmethod
    def prepare(given: Given) -> None:
        """Put `UNSTEERED` first."""
        choice = given["sampler"]
        asked = given["samplers"] if choice.value is None else (choice.value,)
        given["samplers"] = (UNSTEERED, *(name for name in asked if name != UNSTEERED))
        given["sampler"] = replace(choice, value=None)

    @staticmethod
    def resolve(given: Given) -> None:
        oracle, episodes = given["oracle"], given["episodes"]
        if given["critic"] is None:
            raise RunError("critic is none; a critic is what is probed; accepted: default, or another critic")
        if oracle > episodes:
            raise RunError(
                f"oracle is {oracle}, and episodes is {episodes}; accepted: a whole number from 0 to episodes"
            )
        for path in given["data"]:
            if not path.is_file():
                raise RunError(f"data names {path}, which is no file; accepted: files of sim-eval train stage=rollouts")
        given["strengths_tried"] = tuple(sorted(set(given["strengths_tried"])))
        given["workers"] = worker_count(given["workers"])
        output = given["output"] = given["output"] or default_output("probe", given["task"].name, given["policy"].label)
        check_folder("output", output, (PROBE, PAGE), given["data"])
        if (output / PROBE).exists():
            raise RunError(
                f"output={output} holds the figures of a probe, which are kept; accepted: another output=DIR"
            )

    @property
    def steps(self) -> int:
        """Denoising steps of the policy's own draws."""
        return int(self.sampler[UNSTEERED]["steps"])

    def stored(self) -> dict[str, Any]:
        """The options that the figures depend on, as plain values."""
        return {
            "task": self.task.stored(),
            "policy": self.policy.label,
            "critic": self.critic.label,
            "sampler": {name: dict(config) for name, config in self.sampler.items()},
            **{name: getattr(self, name) for name in ("seed", "episodes", "decisions", "oracle")},
            "strengths_tried": list(self.strengths_tried),
            "data": [str(path) for path in self.data],
        }
