"""Choosing steering strengths: on keys of their own, every one tried on the same episodes, every one published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from tqdm import tqdm

from sim_eval.assets import with_assets
from sim_eval.configuration import CONFIGS, choices, compose, load_yaml, one_of, whole
from sim_eval.errors import RunError
from sim_eval.keys import episode_keys
from sim_eval.rollout import run_episodes
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.settings import build_sampler, core_count
from sim_eval.statistics import wilson
from sim_eval.workers import Pool
from tasks.naming import full_name

#: Strengths are chosen here, and reported figures come from the block `eval`: no key is in both.
BLOCK = "tune"

#: The published sweeps of the shipped checkpoints.
RESULTS = CONFIGS.parent / "results" / "sweeps"

#: The critic that configs/strengths.yaml is for.
DEFAULT_CRITIC = "critic"


@dataclass(frozen=True)
class SweepSettings:
    """The options of `sim-eval-sweep`, checked."""

    task: Mapping[str, Any]
    policy: str
    critic: str
    sampler: Mapping[str, Mapping[str, Any]]
    strengths: tuple[float, ...]
    episodes: int
    seed: int
    workers: int
    batch: int
    checkpoints: Path | None
    results: Path
    choose: bool

    def samplers(self) -> dict[tuple[str, float], Sampler]:
        """One for every sampler and strength."""
        return {
            (name, strength): build_sampler(name, {**config, "strength": strength})
            for name, config in self.sampler.items()
            for strength in self.strengths
        }

    @property
    def task_name(self) -> str:
        """What keys, results and checkpoints call the task."""
        return full_name(**self.task)

    @property
    def published(self) -> Path:
        return self.results / f"{self.task_name}-{self.policy}-{self.critic}.json"


@dataclass(frozen=True)
class Trial:
    """One strength of one sampler: successes out of `episodes` paired episodes, Wilson 95 % interval, mean Q."""

    sampler: str
    strength: float
    episodes: int
    successes: int
    interval: tuple[float, float]
    mean_q: float

    @property
    def rate(self) -> float:
        return self.successes / self.episodes


def read_sweep_settings(arguments: Sequence[str]) -> SweepSettings:
    """`sim-eval-sweep`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("sweep", arguments)
    steerable = [name for name in choices("sampler") if "strength" in config["sampler"][name]]
    picked = [one_of("samplers", name, steerable) for name in _listed("samplers", config["samplers"])]
    strengths = _listed("strengths", config["strengths"])
    for strength in strengths:
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength < float("inf"):
            raise RunError(f"strengths holds {strength!r}; accepted: finite numbers of at least 0")
    if config["critic"]["name"] is None:
        raise RunError("critic is none; every sampler with a strength needs a critic")
    if config["choose"] and config["critic"]["name"] != DEFAULT_CRITIC:
        raise RunError(
            f"critic is {config['critic']['name']}; strengths are chosen for {DEFAULT_CRITIC}: add choose=false"
        )
    workers = config["workers"]
    return SweepSettings(
        policy=config["policy"]["name"],
        critic=config["critic"]["name"],
        sampler={name: config["sampler"][name] for name in picked},
        strengths=tuple(float(strength) for strength in strengths),
        episodes=whole("episodes", config["episodes"], 1),
        seed=whole("seed", config["seed"], 0),
        workers=core_count() if workers is None else whole("workers", workers, 0),
        batch=whole("batch", config["batch"], 1),
        checkpoints=None if config["checkpoints"] is None else Path(str(config["checkpoints"])),
        results=Path(config["results"]),
        choose=config["choose"],
        task=with_assets(config["task"]),
    )


def _listed(option: str, value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RunError(f"{option} is {value}; accepted: a list with at least one entry, such as [a,b]")
    return value


def sweep(settings: SweepSettings, models: Models, pool: Pool) -> list[Trial]:
    """Every sampler at every strength over the same keys of the tune block. A crashed episode raises RunError."""
    keys = episode_keys(settings.task_name, settings.seed, settings.episodes, BLOCK)
    trials = []
    with tqdm(total=len(keys) * len(settings.samplers()), desc="sweep", disable=None) as progress:
        for (name, strength), sampler in settings.samplers().items():
            successes, values = 0, []
            for episode in run_episodes(pool, keys, sampler, models, f"{name} at {strength}"):
                if episode.error is not None:
                    raise RunError(f"{name} at {strength}, episode {episode.key.episode}: {episode.error}")
                successes += episode.success
                values.append(episode.mean_q)
                progress.update()
                progress.set_postfix_str(f"{name} at {strength:g}: {successes}/{len(values)}", refresh=False)
            mean_q = float(np.mean([q for q in values if q is not None]))
            trials.append(Trial(name, strength, len(keys), successes, wilson(successes, len(keys)), mean_q))
    return trials


def publish(settings: SweepSettings, trials: Sequence[Trial]) -> list[Trial]:
    """Add the trials to the published ones of this task, policy and critic, and return all. A repeated one replaces
    the older."""
    path = settings.published
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {(trial.sampler, trial.strength): trial for trial in [*read_trials(path), *trials]}
    ordered = sorted(known.values(), key=lambda trial: (trial.sampler, trial.strength))
    content = {"block": BLOCK, "seed": settings.seed, "trials": [asdict(trial) for trial in ordered]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return ordered


def read_trials(path: Path) -> list[Trial]:
    """The published trials of one task, policy and critic; none where nothing is published."""
    return [Trial(**trial) for trial in json.loads(path.read_text())["trials"]] if path.is_file() else []


def chosen(trials: Iterable[Trial]) -> dict[str, float]:
    """The strength of each sampler that succeeded most often; of equals the smallest, which moves the policy least."""
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda one: one.strength):
        if trial.sampler not in best or trial.rate > best[trial.sampler].rate:
            best[trial.sampler] = trial
    return {name: trial.strength for name, trial in best.items()}


def write_strengths(settings: SweepSettings, trials: Sequence[Trial], path: Path = CONFIGS / "strengths.yaml") -> None:
    """Write each sampler's chosen strength where `sim-eval` reads it."""
    table = load_yaml(path)
    row = table.setdefault(settings.task_name, {}).setdefault(settings.policy, {})
    row.update(chosen(trials))
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    path.write_text(head + OmegaConf.to_yaml(table))
