"""The options of `sim-eval`, checked and resolved."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim_eval.analysis.episode_selection import Pick, check_pick, read_pick
from sim_eval.config.compose import CONFIGS, choices, compose, folder, load_yaml
from sim_eval.config.values import listed, one_of, whole, worker_count
from sim_eval.errors import RunError
from sim_eval.evaluation.tracking import TRACKERS, check_installed
from sim_eval.rollout.keys import BLOCKS
from sim_eval.samplers.sampler import Sampler
from tasks.naming import full_name
from tasks.registry import check_exists


@dataclass(frozen=True)
class Settings:
    """One run, resolved: `task` and each of `sampler` as their constructors take them, strengths filled in."""

    task: Mapping[str, Any]
    policy: str
    critic: str | None
    samplers: tuple[str, ...]
    sampler: Mapping[str, Mapping[str, Any]]  # of the picked ones alone, `_target_` and fields
    episodes: int
    seed: int
    block: str
    workers: int
    batch: int
    videos: Pick
    log: str
    checkpoints: Path | None
    output: Path

    @property
    def task_name(self) -> str:
        """What keys, records and checkpoints call the task."""
        return full_name(**self.task)

    def stored(self) -> dict[str, Any]:
        """What the run folder keeps as config.yaml; plain values."""
        plain = dataclasses.asdict(self)
        for path in ("checkpoints", "output"):
            plain[path] = None if plain[path] is None else str(plain[path])
        return {**plain, "samplers": list(self.samplers)}


def read_settings(arguments: Sequence[str], strengths: Path = CONFIGS / "strengths.yaml") -> Settings:
    """`sim-eval`'s arguments as Settings. Raises RunError naming the option, its value and what is accepted."""
    config = compose("eval", arguments)
    task, policy = config["task"], config["policy"]["name"]
    check_exists(**task)
    name = full_name(**task)
    samplers = _picked(config["samplers"])
    chosen = {one: _with_strength(one, config["sampler"][one], name, policy, strengths) for one in samplers}
    batch = whole("batch", config["batch"], 1)
    return Settings(
        policy=policy,
        critic=config["critic"]["name"],
        samplers=samplers,
        sampler=chosen,
        episodes=whole("episodes", config["episodes"], 1),
        seed=whole("seed", config["seed"], 0),
        block=one_of("block", config["block"], BLOCKS),
        workers=min(worker_count(config["workers"]), batch),
        batch=batch,
        videos=_videos(config["videos"], samplers),
        log=_tracker(config["log"]),
        checkpoints=None if config["checkpoints"] is None else folder(config["checkpoints"]),
        output=_default_output(name, policy) if config["output"] is None else folder(config["output"]),
        task=task,
    )


def build_samplers(settings: Settings) -> dict[str, Sampler]:
    """The picked samplers by name. Raises RunError for a field value that the sampler refuses."""
    return {name: build_sampler(name, settings.sampler[name]) for name in settings.samplers}


def check_critic(settings: Settings, samplers: Mapping[str, Sampler]) -> None:
    """Raise RunError for critic=none where a sampler needs one."""
    needy = [name for name, sampler in samplers.items() if "critic" in sampler.needs]
    if needy and settings.critic is None:
        raise RunError(f"critic is none, which sampler {needy[0]} needs; accepted: samplers=[unsteered], or a critic")


def build_sampler(name: str, config: Mapping[str, Any]) -> Sampler:
    """The sampler of this configuration. Raises RunError naming the field whose value it refuses."""
    module, _, kind = str(config["_target_"]).rpartition(".")
    build = getattr(importlib.import_module(module), kind)
    fields = {field: value for field, value in config.items() if field != "_target_"}
    for field, value in fields.items():
        if value is None or isinstance(value, str):
            raise RunError(f"sampler.{name}.{field} is {value}; accepted: a number")
    try:
        sampler: Sampler = build(**fields)
    except ValueError as error:  # a sampler checks its own ranges
        raise RunError(f"sampler.{name}: {error}") from None
    return sampler


def _picked(samplers: object) -> tuple[str, ...]:
    picked = tuple(one_of("samplers", name, choices("sampler")) for name in listed("samplers", samplers))
    if len(set(picked)) != len(picked):
        raise RunError(f"samplers is [{', '.join(picked)}]: each may be picked once")
    return picked


def _with_strength(name: str, config: Mapping[str, Any], task: str, policy: str, strengths: Path) -> Mapping[str, Any]:
    """The sampler's config with a null strength replaced by the tuned one."""
    if "strength" not in config or config["strength"] is not None:
        return config
    tuned: Any = load_yaml(strengths)
    for level in (task, policy, name):
        tuned = tuned.get(level) if isinstance(tuned, dict) else None
    if tuned is None:
        raise RunError(
            f"no strength has been tuned for task={task} policy={policy} sampler {name} in {strengths.name}; "
            f"give one with sampler.{name}.strength=NUMBER"
        )
    return {**config, "strength": tuned}


def _videos(value: object, samplers: Sequence[str]) -> Pick:
    pick = read_pick(0 if value is None else value)
    check_pick(pick, samplers)
    return pick


def _tracker(log: object) -> str:
    name = one_of("log", log, TRACKERS)
    check_installed(name)
    return name


def _default_output(task: str, policy: str) -> Path:
    return Path("runs") / f"{task}-{policy}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
