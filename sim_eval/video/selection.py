"""Which episodes of a run are rendered, and into which files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from sim_eval.foundation.errors import RunError
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record
from sim_eval.video.episode_video import ROWS, Column, EpisodeVideo
from sim_eval.video.options import RenderOptions
from sim_eval.video.picks import check_pick, picked


def chosen_records(settings: RenderOptions, run: Run) -> list[Record]:
    """The records asked for, by sampler; those that ended in an error have no outcome to show and are left out.

    Raises RunError for an unknown sampler or episode.
    """
    if not run.records:
        raise RunError(f"no episode is recorded in {settings.folder}")
    recorded = list(dict.fromkeys(record.sampler for record in run.records))
    for sampler in settings.samplers or ():
        if sampler not in recorded:
            raise RunError(f"samplers: {sampler} is not recorded in {settings.folder}; accepted: {', '.join(recorded)}")
    samplers = settings.samplers or tuple(recorded)
    if settings.side_by_side and settings.beside is None and len(set(samplers)) < 2:
        raise RunError(f"side_by_side=true needs two samplers or more, there is {', '.join(samplers)}")
    check_pick(settings.videos, recorded)
    good = [record for record in run.records if record.error is None]
    asked = _asked_episodes(settings, good, samplers)
    wanted = picked(settings.videos, [record for record in good if record.episode in asked], samplers)
    chosen = [record for record in good if record.sampler in samplers and record.episode in wanted]
    return sorted(chosen, key=lambda record: (samplers.index(record.sampler), record.episode))


def _asked_episodes(settings: RenderOptions, good: Sequence[Record], samplers: Sequence[str]) -> set[int]:
    """The episodes asked for by number; side by side, only those that every sampler has can be had."""
    sets = [{record.episode for record in good if record.sampler == sampler} for sampler in samplers]
    recorded = set.intersection(*sets) if settings.side_by_side else set.union(*sets)
    for episode in settings.episodes or ():
        if episode not in recorded:
            every = " of every sampler" if settings.side_by_side else ""
            accepted = shorten(", ".join(map(str, sorted(recorded))) or "none", 200, placeholder=" ...")
            raise RunError(f"episodes: {episode} is not recorded in {settings.folder}; accepted{every}: {accepted}")
    return recorded if settings.episodes is None else set(settings.episodes)


def planned_videos(settings: RenderOptions, columns: Sequence[Column]) -> list[EpisodeVideo]:
    """One for every column, or one for every episode with all its columns.

    Raises RunError for columns that start from different states.
    """
    groups: dict[tuple[int, str], list[Column]] = defaultdict(list)
    for column in columns:
        record = column.record
        groups[record.episode, "" if settings.side_by_side else record.sampler].append(column)
    videos = []
    for together in groups.values():
        first, *others = (column.record for column in together)
        for other in others:
            if other.state_hash != first.state_hash:
                raise RunError(
                    f"side_by_side: {other.sampler} of {other.policy} starts episode {other.episode} from another "
                    f"state than {first.sampler} of {first.policy}, the pairing is broken"
                )
        path = video_path(settings, first.task, first.policy, _columns_name(settings, together), first.episode)
        videos.append(EpisodeVideo(path, tuple(together)))
    return videos


def _columns_name(settings: RenderOptions, columns: Sequence[Column]) -> str:
    return "-vs-".join(
        column.record.sampler if column.folder == settings.folder else f"{column.record.policy}-{column.record.sampler}"
        for column in columns
    )


def records_beside(settings: RenderOptions, run: Run, chosen: Sequence[Record], other: Run) -> list[Record]:
    """The other run's records of the chosen episodes. Raises RunError for a run of another task, or without any."""
    task = run.task.full_name
    if other.task.full_name != task:
        raise RunError(f"beside is {settings.beside}, a run of {other.task.full_name}; accepted: a run of {task}")
    episodes = {record.episode for record in chosen}
    found = [
        record
        for record in other.records
        if record.error is None
        and record.episode in episodes
        and (settings.samplers is None or record.sampler in settings.samplers)
    ]
    if chosen and not found:
        raise RunError(f"beside is {settings.beside}, which has none of the chosen episodes of {settings.folder}")
    return found


def video_path(settings: RenderOptions, task: str, policy: str, samplers: str, episode: int) -> Path:
    """The file of one video."""
    return settings.output / f"{task}-{policy}-{samplers}-{episode:04d}.{settings.format}"


def planned_sheets(settings: RenderOptions, chosen: Sequence[Record]) -> dict[Path, list[Record]]:
    """The contact sheets, if asked for, and the records on each, by episode."""
    if not settings.sheet or not chosen:
        return {}
    together = sorted(chosen, key=lambda record: record.episode)  # stable: samplers keep their order
    name = f"{chosen[0].task}-{chosen[0].policy}-sheet"
    return {
        settings.output / f"{name}-{start // ROWS + 1}.png": together[start : start + ROWS]
        for start in range(0, len(together), ROWS)
    }
