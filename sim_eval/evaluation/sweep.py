"""Try steering strengths, each on the same episodes of a separate block of keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from sim_eval.analysis.statistics import wilson
from sim_eval.config.samplers import build_sampler
from sim_eval.evaluation.options import TUNE, SweepOptions, dial
from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.foundation.errors import RunError
from sim_eval.models.build import check_needs
from sim_eval.models.strengths import Tuned, check_writable, scales_of, write_strengths
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.rehearsal import rehearse
from sim_eval.rollout.start import open_engine
from sim_eval.runs.stored_options import stored_options
from sim_eval.runs.sweeps import Sweep, Trial, check_published, chosen, publish
from sim_eval.samplers.sampler import Models, Sampler


def samplers_tried(settings: SweepOptions) -> dict[tuple[str, float], Sampler]:
    """Each sampler at each strength. Raises RunError for a field value that a sampler refuses."""
    return {
        (name, strength): build_sampler(name, {**config, **_turned(name, config, strength)})
        for name, config in settings.sampler.items()
        for strength in settings.strengths
    }


def _turned(name: str, config: Mapping[str, Any], strength: float) -> dict[str, float]:
    """The sampler's dial at this strength. Raises RunError for half a draw."""
    if dial(config) == "strength":
        return {"strength": strength}
    if not strength.is_integer() or strength < 1:
        raise RunError(f"strengths has {strength:g}, for {name} the number of draws; accepted: whole numbers from 1 on")
    return {"n": int(strength)}


def conditions_of(settings: SweepOptions, checkpoints: Mapping[str, str]) -> Sweep:
    """What the trials will have in common; `checkpoints`: role to SHA-256."""
    return Sweep(
        block=TUNE,
        seed=settings.seed,
        episodes=settings.episodes,
        checkpoints=checkpoints,
        options={
            name: {
                field: value
                for field, value in stored_options(config).items()
                if field not in ("_target_", dial(config))
            }
            for name, config in settings.sampler.items()
        },
        task_options=settings.task.varied,
    )


def try_strengths(settings: SweepOptions) -> Sweep:
    """Run the trials that are not published yet, publish each as it ends, and return all published trials.

    Raises RunError, before anything runs, if models do not fit or files hold trials of other episodes or models.
    """
    samplers = samplers_tried(settings)
    models = settings.build_models(samplers.values())
    for (name, _), sampler in samplers.items():
        check_needs(name, sampler, settings.policy.label, models)
    conditions = conditions_of(settings, models.fingerprints)
    published = check_published(settings.published, conditions)
    if settings.choose:
        check_writable(settings.output, settings.task_name, settings.policy.label, models.fingerprints)
    finished = {(trial.sampler, trial.strength) for trial in published.trials}
    missing = {trial: sampler for trial, sampler in samplers.items() if trial not in finished}
    if not missing:
        return published
    tell_of_compiling(settings.task.options)
    tried = {f"{name} at {strength:g}": sampler for (name, strength), sampler in missing.items()}
    rehearse(settings.task_name, settings.task.factory(), settings.workers, tried, models, TUNE)
    with open_engine(settings.task.factory(), settings.workers, settings.batch, each=settings.each) as engine:
        for trial in sweep(settings, missing, models, engine):
            published = publish(settings.published, replace(conditions, trials=(trial,)))
            tqdm.write(
                f"{trial.sampler} at {trial.strength:g}: {trial.successes}/{trial.episodes}, mean Q {trial.mean_q:.2f}"
            )
    return published


def choose_strengths(settings: SweepOptions, published: Sweep) -> dict[str, float]:
    """The best published strength of each sampler. Those that are no numbers of draws are written to `output`."""
    best = {name: strength for name, strength in chosen(published.trials).items() if name in settings.sampler}
    if untried := [name for name in settings.sampler if name not in best]:
        raise RunError(f"sampler {untried[0]} has no trial whose episodes all end without an error; see above")
    tuned_for = {role: published.checkpoints[role] for role in ("policy", "critic")}
    if settings.steered:
        steered = {name: settings.sampler[name] for name in settings.steered}
        tuned = Tuned(**tuned_for, strengths={name: best[name] for name in steered}, scales=scales_of(steered))
        write_strengths(settings.output, settings.task_name, settings.policy.label, tuned)
    return best


def sweep(
    settings: SweepOptions, samplers: Mapping[tuple[str, float], Sampler], models: Models, engine: Engine
) -> Iterator[Trial]:
    """Each of `samplers`, by name and strength, over the same keys of the tune block, each trial as it ends.

    A trial with an episode that ends in an error compares to no other: it is left out, which stderr is told.
    """
    keys = episode_keys(settings.task_name, settings.seed, settings.episodes, TUNE)
    with tqdm(total=len(keys) * len(samplers), desc="sweep", disable=None) as progress:
        for (name, strength), sampler in samplers.items():
            successes = 0
            values: dict[int, float | None] = {}
            for episode in engine.play(keys, sampler, models, f"{name} at {strength}"):
                if episode.error is not None:
                    where = f"{name} at {strength:g}, episode {episode.key.episode}"
                    tqdm.write(f"left out: {where}: {episode.error}", file=sys.stderr)
                    progress.update(len(keys) - len(values))
                    break
                successes += episode.success
                values[episode.key.episode] = episode.mean_q
                progress.update()
                progress.set_postfix_str(f"{name} at {strength:g}: {successes}/{len(values)}", refresh=False)
            if len(values) < len(keys):
                continue
            # In key order: episodes end in any order, and a floating-point sum depends on it.
            mean_q = float(np.mean([q for _, q in sorted(values.items()) if q is not None]))
            yield Trial(name, strength, len(keys), successes, wilson(successes, len(keys)), mean_q)
