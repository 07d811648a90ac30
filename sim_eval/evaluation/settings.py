"""The options of `sim-eval`, checked and resolved."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.analysis.episode_selection import Pick, check_pick, read_pick
from sim_eval.config.compose import compose, folder
from sim_eval.config.models import read_models
from sim_eval.config.plugins import Component
from sim_eval.config.strengths import SHIPPED, read_strengths, with_strength
from sim_eval.config.tasks import check_task, task_name
from sim_eval.config.values import one_of, whole, worker_count
from sim_eval.errors import RunError
from sim_eval.evaluation.samplers import build_sampler, read_samplers
from sim_eval.evaluation.tracking import TRACKERS, check_installed
from sim_eval.models import resolve_device
from sim_eval.rollout.keys import BLOCKS
from sim_eval.samplers.sampler import Sampler

_STORED_AS_THEY_ARE = ("episodes", "seed", "block", "workers", "batch", "videos", "log")

SHIPPED_POSTERIOR = Component("default", option="posterior")


@dataclass(frozen=True)
class Settings:
    """One run, resolved.

    `task`: as `task_factory` takes it. `sampler`: of the picked ones alone, `_target_` and fields, strengths filled in;
    `tuned` names those whose strength comes from the file `strengths`. `device`: auto, cpu or cuda.
    """

    task: Mapping[str, Any]
    policy: Component
    critic: Component | None
    samplers: tuple[str, ...]
    sampler: Mapping[str, Mapping[str, Any]]
    episodes: int
    seed: int
    block: str
    workers: int
    batch: int
    videos: Pick
    log: str
    checkpoints: Path | None
    output: Path
    posterior: Component = SHIPPED_POSTERIOR
    device: str = "auto"
    strengths: Path = SHIPPED
    tuned: tuple[str, ...] = ()

    @property
    def task_name(self) -> str:
        """What keys, records and checkpoints call the task."""
        return task_name(self.task)

    def stored(self) -> dict[str, Any]:
        """What the run folder keeps as config.yaml; plain values. What is not there is the default."""
        plain = {
            "task": dict(self.task),
            "policy": self.policy.label,
            "critic": self.critic and self.critic.label,
            "samplers": list(self.samplers),
            "sampler": {name: dict(config) for name, config in self.sampler.items()},
            "checkpoints": self.checkpoints and str(self.checkpoints),
            "output": str(self.output),
        }
        plain |= {name: getattr(self, name) for name in _STORED_AS_THEY_ARE}
        device = resolve_device(self.device).type
        plain |= {} if device == "cpu" else {"device": device}
        for option, component in (("policy", self.policy), ("critic", self.critic), ("posterior", self.posterior)):
            if component is not None and component.target is not None:
                plain |= {option: component.label, f"{option}_target": component.target}
                plain |= {f"{option}_options": dict(component.options)} if component.options else {}
        return plain


def read_settings(arguments: Sequence[str]) -> Settings:
    """`sim-eval`'s arguments as Settings. Raises RunError naming the option, its value and what is accepted."""
    config = compose("eval", arguments)
    check_task(config["task"])
    task = task_name(config["task"])
    models = read_models(config, task)
    policy = models["policy"].label
    samplers = read_samplers(config)
    strengths = SHIPPED if config["strengths"] is None else folder(config["strengths"])
    table = read_strengths(strengths, task, policy)
    filled = {
        name: with_strength(name, fields, table, f"task={task} policy={policy}") for name, fields in samplers.items()
    }
    batch = whole("batch", config["batch"], 1)
    return Settings(
        **models,
        samplers=tuple(samplers),
        sampler={name: fields for name, (fields, _) in filled.items()},
        episodes=whole("episodes", config["episodes"], 1),
        seed=whole("seed", config["seed"], 0),
        block=one_of("block", config["block"], BLOCKS),
        workers=min(worker_count(config["workers"]), batch),
        batch=batch,
        videos=_videos(config["videos"], list(samplers)),
        log=_tracker(config["log"]),
        output=default_output(task, policy) if config["output"] is None else folder(config["output"]),
        strengths=strengths,
        tuned=tuple(name for name, (_, from_table) in filled.items() if from_table),
        task=config["task"],
    )


def build_samplers(settings: Settings) -> dict[str, Sampler]:
    """The picked samplers by name. Raises RunError for a field value that the sampler refuses."""
    return {name: build_sampler(name, settings.sampler[name]) for name in settings.samplers}


def check_tuned(settings: Settings, fingerprints: Mapping[str, str]) -> None:
    """Raise RunError where strengths of the file were tuned for other models; `fingerprints`: role to SHA-256."""
    table = read_strengths(settings.strengths, settings.task_name, settings.policy.label)
    if not settings.tuned or table is None or not table.differing(fingerprints):
        return
    others = " and ".join(table.differing(fingerprints))
    raise RunError(
        f"the strength of sampler {settings.tuned[0]} in {settings.strengths} was tuned for another {others}; give one "
        f"with sampler.{settings.tuned[0]}.strength=NUMBER, or tune it: sim-eval-sweep, then strengths=FILE"
    )


def _videos(value: object, samplers: Sequence[str]) -> Pick:
    pick = read_pick(0 if value is None else value)
    check_pick(pick, samplers)
    return pick


def _tracker(log: object) -> str:
    name = one_of("log", log, TRACKERS)
    check_installed(name)
    return name


def default_output(task: str, policy: str) -> Path:
    """A run folder of its own for each run, by the time of day."""
    return Path("runs") / f"{task}-{policy}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
