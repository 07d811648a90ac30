"""Run every selected sampler over the same episodes, into one run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policies.observation import ObservationRequest
from policies.policy import FrozenPolicy
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.evaluation.progress import Progress, Track, tracking
from sim_eval.evaluation.stopping import playing_on, rounds
from sim_eval.models.build import LoadedPolicies, check_needs
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_key
from sim_eval.rollout.rehearsal import rehearse, warn_of_unpaired_starts
from sim_eval.rollout.start import open_engine
from sim_eval.runs.records import Record, record_of
from sim_eval.runs.run_folder import RunFolder, open_run
from sim_eval.runs.stored_options import DECIDED
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.video.options import RenderOptions, default_output
from sim_eval.video.render import check_output, check_rendering
from tasks.naming import GYMNASIUM


def evaluate_all(runs: Sequence[EvaluateOptions], built: Mapping[str, Sampler] | None = None) -> list[Record]:
    """Run several evaluations, one after the other, under one progress bar; return all their records.

    built: the samplers, if they are not to be built from the options. A policy that is the same for several tasks is
    loaded once. Raises RunError or TaskError, before anything runs, for options, models and samplers that do not fit
    together.
    """
    loaded: LoadedPolicies = {}
    ready = [_prepared(options, built or options.build_samplers(), loaded) for options in runs]
    tried: list[FrozenPolicy] = []
    for options, (samplers, models) in zip(runs, ready, strict=True):
        if models.policy not in tried:  # the tasks of a suite may share it, and a scene takes seconds to build
            rehearse(options.task_name, options.task.factory(), options.workers, samplers, models, options.block)
            tried.append(models.policy)
        if options.task.name == GYMNASIUM:
            start = episode_key(options.task_name, options.seed, 0, options.block)
            warn_of_unpaired_starts(options.task_name, options.task.factory(), options.workers, start)
    records: list[Record] = []
    with Progress(sum(len(options.sampler) * options.episodes for options in runs), _cores(runs[0])) as progress:
        for options, (samplers, models) in zip(runs, ready, strict=True):
            records += evaluate(options, samplers, options.task.factory(), models, progress)
    return records


def _prepared(
    options: EvaluateOptions, samplers: Mapping[str, Sampler], loaded: LoadedPolicies
) -> tuple[Mapping[str, Sampler], Models]:
    """Samplers and models, after every check that needs them."""
    models = options.build_models(samplers.values(), loaded)
    options.check_tuned(models.fingerprints)
    for name, sampler in samplers.items():
        check_needs(name, sampler, options.policy.label, models)
    if options.videos:
        check_output(video_options(options), options.task_name, options.policy.label, options.episodes)
        check_rendering(options.task.factory(), options.task_name)
    return samplers, models


def _cores(options: EvaluateOptions) -> int | None:
    """How many cores the run keeps busy at most; None on a cluster."""
    return max(options.workers, 1) if isinstance(options.workers, int) else None


def video_options(settings: EvaluateOptions) -> RenderOptions:
    """The settings of the videos that a run renders when it is done."""
    folder = default_output(settings.output)
    return RenderOptions(
        folder=settings.output,
        output=folder.parent / settings.suite / folder.name if settings.suite else folder,
        samplers=tuple(settings.sampler),
        videos=settings.videos,
        workers=settings.workers,
        ray=settings.ray,
    )


def evaluate(
    settings: EvaluateOptions,
    samplers: Mapping[str, Sampler],
    make_task: MakeTask,
    models: Models,
    progress: Progress,
) -> list[Record]:
    """Run the episodes that the run folder lacks; return all records of the selected samplers, errors included.

    Raises RunError as `open_run` and `run_episodes`. Existing records are kept.
    """
    output, stored = settings.output, settings.stored()
    request, computation = models.policy.request, models.policy.computation
    with (
        open_run(output, stored, models.fingerprints, request, settings.design, computation) as folder,
        tracking(settings.log, output, stored) as track,
    ):
        before = [record for record in folder.done.values() if record.sampler in samplers]
        progress.begin(before, settings.task_name if settings.suite else "")
        with open_engine(make_task, settings.workers, settings.batch, each=settings.each) as engine:
            for numbers in rounds(settings.episodes) if settings.until == DECIDED else [range(settings.episodes)]:
                for name in _playing(settings, samplers, folder, numbers.start):
                    _run_sampler(settings, name, samplers[name], numbers, models, engine, folder, progress, track)
        return [record for record in folder.done.values() if record.sampler in samplers]


def _playing(
    settings: EvaluateOptions, samplers: Mapping[str, Sampler], folder: RunFolder, before: int
) -> Sequence[str]:
    """The samplers that play the round after episode number `before` - 1."""
    if settings.until == DECIDED:
        return playing_on(folder.done.values(), list(samplers), before)
    return list(samplers)


def _run_sampler(
    settings: EvaluateOptions,
    name: str,
    sampler: Sampler,
    numbers: range,
    models: Models,
    engine: Engine,
    folder: RunFolder,
    progress: Progress,
    track: Track,
) -> None:
    missing = [
        episode_key(settings.task_name, settings.seed, episode, settings.block)
        for episode in numbers
        if (name, episode) not in folder.done
    ]
    if missing:
        progress.start(settings.task.options)
    strength, noted = settings.sampler[name].get("strength"), False
    for episodes in engine.finished(missing, sampler, models, name):
        records = [record_of(episode, settings.policy.label, name, strength) for episode in episodes]
        folder.append_all(records, [episode.actions for episode in episodes])
        if not noted and any(episode.unpaired for episode in episodes):
            noted = True
            folder.note_unpaired(name)
        for episode, record in zip(episodes, records, strict=True):
            if episode.key.episode == 0:
                folder.keep_pictures(_pictures(episode, models.policy.request))
            won, finished = progress.note(record, episode.spent)
            if record.error is None:
                track(name, won / finished, finished)


def _pictures(episode: Episode, request: ObservationRequest) -> dict[str, np.ndarray]:
    """The pictures of the latest control step that the policy saw at its first decision."""
    found = {name: episode.first[name] for name in request.images if name in episode.first}
    return {name: picture[-1] if request.history > 1 else picture for name, picture in found.items()}
