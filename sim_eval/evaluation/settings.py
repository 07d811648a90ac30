"""The options of `sim-eval`, checked and resolved; `sim-eval-sweep` shares `RolloutSettings`."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sim_eval.analysis.episode_selection import Pick, check_pick, read_pick
from sim_eval.analysis.rows import DECIDED
from sim_eval.config.components import Component
from sim_eval.config.compose import compose, folder
from sim_eval.config.engine import Workers, read_workers, stored_workers
from sim_eval.config.samplers import SamplerConfigs, build_sampler, read_samplers
from sim_eval.config.tasks import read_task, task_name
from sim_eval.config.values import one_of, whole
from sim_eval.errors import RunError
from sim_eval.evaluation.progress import TRACKERS, check_installed
from sim_eval.models import build as models
from sim_eval.models.checkpoints import ROOT
from sim_eval.models.options import critic_method, read_models
from sim_eval.models.strengths import SHIPPED, Tuned, fill_strengths, known_strengths
from sim_eval.rollout.keys import BLOCKS
from sim_eval.runs.sampler_options import stored_options
from sim_eval.samplers.sampler import Models, Sampler

#: When a run stops: after all its episodes, or as soon as its comparisons are decided.
UNTIL = ("episodes", DECIDED)
_STORED_AS_THEY_ARE = ("episodes", "seed", "block", "batch", "videos", "log")


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Which samplers draw with which models, on which task and episodes.

    `task`: as `task_factory` takes it. `sampler`: `_target_` and fields of each selected sampler, in order.
    `device`: auto, cpu or cuda. `workers`: what plays. `batch`: episodes that run at the same time, on a
    cluster on each worker.
    """

    task: Mapping[str, Any]
    policy: Component
    critic: Component | None
    posterior: Component
    device: str = "auto"
    checkpoints: Path | None
    sampler: SamplerConfigs
    episodes: int
    seed: int
    workers: Workers
    batch: int

    @property
    def task_name(self) -> str:
        """The task's name in keys, records and checkpoints."""
        return task_name(self.task)

    def build_models(self, samplers: Iterable[Sampler]) -> Models:
        """The models that the samplers need, fingerprinted with the user's own code around them.

        Raises RunError if they do not fit together.
        """
        needs = frozenset[str]().union(*(sampler.needs for sampler in samplers))
        chosen = (self.policy, self.critic, self.posterior)
        built = models.build_models(self.task_name, *chosen, needs, self.checkpoints or ROOT, self.device)
        return replace(built, fingerprints={**built.fingerprints, **self._code_fingerprints()})

    def _code_fingerprints(self) -> dict[str, str]:
        """SHA-256 of the source files of a user's own task and samplers, by role: edited code is another task."""
        targets = {"task": self.task.get("target", "")}
        targets |= {f"sampler {name}": str(config.get("_target_", "")) for name, config in self.sampler.items()}
        own = {role: Component(role, target) for role, target in targets.items() if "/" in target}
        return {role: hashlib.sha256(component.source()).hexdigest() for role, component in own.items()}


@dataclass(frozen=True, kw_only=True)
class TunedSettings(RolloutSettings):
    """The samplers' strengths are filled in. `tuned`: those taken from the file `strengths`."""

    strengths: Path = SHIPPED
    tuned: Tuned = field(default_factory=Tuned)


@dataclass(frozen=True, kw_only=True)
class Settings(TunedSettings):
    """One run. `until`: one of `UNTIL`."""

    until: str = UNTIL[0]
    block: str
    videos: Pick
    log: str
    output: Path

    def stored(self) -> dict[str, Any]:
        """The content of the run folder's config.yaml: plain values. Some defaults are left out."""
        plain = {
            "task": dict(self.task),
            "policy": self.policy.label,
            "critic": self.critic and self.critic.label,
            "samplers": list(self.sampler),
            "sampler": {name: stored_options(config) for name, config in self.sampler.items()},
            "checkpoints": self.checkpoints and str(self.checkpoints),
            "output": str(self.output),
        }
        plain |= {name: getattr(self, name) for name in _STORED_AS_THEY_ARE} | stored_workers(self.workers)
        device = models.resolve_device(self.device).type
        plain |= {} if device == "cpu" else {"device": device}
        plain |= {} if self.until == UNTIL[0] else {"until": self.until}
        for option, component in (("policy", self.policy), ("critic", self.critic), ("posterior", self.posterior)):
            if component is not None and component.target is not None:
                plain |= {option: component.label, f"{option}_target": component.target}
                plain |= {f"{option}_options": dict(component.options)} if component.options else {}
        return plain


def read_settings(arguments: Sequence[str]) -> Settings:
    """`sim-eval`'s arguments as Settings. Raises RunError naming the option, its value and what is accepted."""
    return settings_from(compose("eval", arguments))


def settings_from(config: Mapping[str, Any]) -> Settings:
    """The composed options of `sim-eval` as Settings. Raises RunError as `read_settings`."""
    rollouts = read_rollouts(config)
    task, policy = task_name(rollouts["task"]), rollouts["policy"].label
    rollouts |= read_tuned(config, rollouts)
    videos = read_pick(config["videos"] or 0)
    check_pick(videos, list(rollouts["sampler"]))
    check_installed(one_of("log", config["log"], TRACKERS))
    until = one_of("until", config["until"], UNTIL)
    if until == DECIDED and len(rollouts["sampler"]) < 2:
        raise RunError(f"until is {until}, which compares samplers; accepted: at least two samplers, or {UNTIL[0]}")
    return Settings(
        **rollouts,
        until=until,
        block=one_of("block", config["block"], BLOCKS),
        videos=videos,
        log=config["log"],
        output=default_output(task, policy) if config["output"] is None else folder(config["output"]),
    )


def read_rollouts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `RolloutSettings` from composed options. Raises RunError and TaskError for what does not exist."""
    task = read_task(config)
    return {
        "task": task,
        **read_models(config, task_name(task)),
        "sampler": read_samplers(config),
        "episodes": whole("episodes", config["episodes"], 1),
        "seed": whole("seed", config["seed"], 0),
        "workers": read_workers(config),
        "batch": whole("batch", config["batch"], 1),
    }


def read_tuned(config: Mapping[str, Any], rollouts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields `sampler`, strengths filled in, `strengths` and `tuned` of `TunedSettings`, from `read_rollouts`.

    Raises RunError for a file without strengths, and for a shipped sampler that has none.
    """
    task, policy = task_name(rollouts["task"]), rollouts["policy"].label
    path = SHIPPED if config["strengths"] is None else folder(config["strengths"])
    critic = rollouts["critic"]
    method = critic_method(critic, task, rollouts["checkpoints"])
    tuned = known_strengths(path, task, policy, critic, rollouts["sampler"], method)
    sampler, used = fill_strengths(rollouts["sampler"], tuned, f"task={task} policy={policy}")
    return {"sampler": sampler, "strengths": path, "tuned": replace(tuned, strengths=used)}


def build_samplers(settings: RolloutSettings) -> dict[str, Sampler]:
    """The selected samplers by name. Raises RunError for a field value that a sampler rejects."""
    return {name: build_sampler(name, config) for name, config in settings.sampler.items()}


def check_tuned(settings: TunedSettings, fingerprints: Mapping[str, str]) -> None:
    """Raise RunError if the file's strengths were tuned for other models. `fingerprints`: role to SHA-256."""
    others = settings.tuned.differing(fingerprints)
    if others and settings.tuned.strengths:
        name = next(iter(settings.tuned.strengths))
        raise RunError(
            f"the strength of sampler {name} in {settings.strengths} was tuned for another {' and '.join(others)}; "
            f"give one with sampler.{name}.strength=NUMBER, or tune it: sim-eval-sweep, then strengths=FILE"
        )


def default_output(*names: str) -> Path:
    """The default folder of a command that was asked for these names, with the current time in its name."""
    return Path("runs") / "-".join([*names, f"{datetime.datetime.now():%Y%m%d-%H%M%S}"])
