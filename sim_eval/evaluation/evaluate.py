"""The main job: every picked sampler over the same episodes, into one run folder."""

from __future__ import annotations

from collections.abc import Mapping

from sim_eval.evaluation.progress import Progress
from sim_eval.evaluation.settings import Settings
from sim_eval.evaluation.tracking import Track, tracking
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.episodes import run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import Pool, open_pool
from sim_eval.runs.records import Record, record
from sim_eval.runs.run_folder import RunFolder, open_run
from sim_eval.samplers.sampler import Models, Sampler


def evaluate(
    settings: Settings,
    samplers: Mapping[str, Sampler],
    make_task: MakeTask,
    models: Models,
    checkpoints: Mapping[str, str],
) -> list[Record]:
    """Run what the run folder lacks; the records of the picked samplers, errors among them.

    `checkpoints`: name to hash, for the provenance. Raises RunError; whatever was recorded before stays.
    """
    with open_run(settings, checkpoints) as folder, tracking(settings) as track:
        before = [one for one in folder.done.values() if one.sampler in samplers]
        with (
            Progress(len(samplers) * settings.episodes, before) as progress,
            open_pool(make_task, settings.workers, settings.batch) as pool,
        ):
            for name, sampler in samplers.items():
                _run_sampler(settings, name, sampler, models, pool, folder, progress, track)
        return [one for one in folder.done.values() if one.sampler in samplers]


def _run_sampler(
    settings: Settings,
    name: str,
    sampler: Sampler,
    models: Models,
    pool: Pool,
    folder: RunFolder,
    progress: Progress,
    track: Track,
) -> None:
    everything = episode_keys(settings.task_name, settings.seed, settings.episodes, settings.block)
    missing = [key for key in everything if (name, key.episode) not in folder.done]
    strength = settings.sampler[name].get("strength")
    outcomes = [one.success for (sampler_name, _), one in folder.done.items() if sampler_name == name]
    for episode in run_episodes(pool, missing, sampler, models, name):
        one = record(episode, settings.policy, name, strength)
        folder.append(one, episode.actions)
        progress.note(one)
        if one.error is None:
            outcomes.append(one.success)
            track(name, sum(outcomes) / len(outcomes), len(outcomes))
