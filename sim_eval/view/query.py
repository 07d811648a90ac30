"""The page's query, and the answer: runs and episodes that pass its filters."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

from sim_eval.foundation.errors import RunError
from sim_eval.report.sampler_styles import styles_of
from sim_eval.view.entry import Entry, EpisodeEntry

OUTCOMES = ("success", "failure", "error")

#: Runs in one answer; more than these are found with the filters.
RUNS = 500


@dataclass(frozen=True)
class Query:
    """Filters, empty for everything. They are of runs, and so of their episodes, down to `state`.

    text: words, each in the run's name, task, policy, problem or one of its samplers. task, policy, sampler, state:
    equal to it. outcome: of `OUTCOMES`. episode: a number. video: whether only episodes with a video. count: how many
    episodes to list.
    """

    text: str = ""
    task: str = ""
    policy: str = ""
    sampler: str = ""
    state: str = ""
    outcome: str = ""
    episode: str = ""
    video: str = ""
    count: str = "50"

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """The query in an address. Raises RunError for an unknown parameter, and for a value that is none."""
        names = [field.name for field in fields(cls)]
        for name in parameters:
            if name not in names:
                raise RunError(f"unknown parameter {name}; accepted: {', '.join(names)}")
        query = cls(**parameters)
        if query.outcome not in ("", *OUTCOMES):
            raise RunError(f"outcome is {query.outcome}; accepted: {', '.join(OUTCOMES)}")
        for name, value in (("count", query.count), ("episode", query.episode or "0")):
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise RunError(f"{name} is {value}; accepted: a whole number")
        return query


def answer(entries: Sequence[Entry], query: Query) -> dict[str, Any]:
    """The runs and episodes that pass the filters, as JSON holds them, and the choices that each filter has.

    "styles": the number of each sampler's colour, as in reports.
    """
    shown = [entry for entry in entries if _shows(entry, query)]
    count, found_episodes = int(query.count), 0
    listed: list[dict[str, Any]] = []
    for entry in shown:
        found = _episodes(entry, query)
        found_episodes += len(found)
        listed += [_episode(entry, episode) for episode in found[: count - len(listed)]]
    return {
        "styles": styles_of(_choices(share.sampler for entry in entries for share in entry.shares)),
        "choices": {
            "task": _choices(entry.task for entry in entries),
            "policy": _choices(entry.policy for entry in entries),
            "sampler": _choices(share.sampler for entry in entries for share in entry.shares),
            "state": _choices(entry.state for entry in entries),
        },
        "all_runs": len(entries),
        "found_runs": len(shown),
        "runs": [_run(entry) for entry in shown[:RUNS]],
        "all_episodes": sum(len(entry.episodes) for entry in entries),
        "found_episodes": found_episodes,
        "episodes": listed,
    }


def _shows(entry: Entry, query: Query) -> bool:
    samplers = [share.sampler for share in entry.shares]
    if (query.sampler and query.sampler not in samplers) or any(
        getattr(query, name) not in ("", getattr(entry, name)) for name in ("task", "policy", "state")
    ):
        return False
    text = " ".join([entry.name, entry.task, entry.policy, entry.problem, *samplers]).lower()
    return all(word in text for word in query.text.lower().split())


def _episodes(entry: Entry, query: Query) -> Sequence[EpisodeEntry]:
    found: Sequence[EpisodeEntry] = entry.episodes
    if query.episode:
        number = int(query.episode)
        found = [episode for episode in found if episode.episode == number]
    if query.sampler:
        found = [episode for episode in found if episode.sampler == query.sampler]
    if query.outcome:
        found = [episode for episode in found if _outcome(episode) == query.outcome]
    if query.video:
        found = [episode for episode in found if episode.video]
    return found


def _outcome(episode: EpisodeEntry) -> str:
    return "error" if episode.error is not None else "success" if episode.success else "failure"


def _choices(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if value})


def _run(entry: Entry) -> dict[str, Any]:
    names = ("id", "name", "state", "learned", "task", "policy", "done", "asked", "started", "problem")
    return {name: getattr(entry, name) for name in names} | {"shares": [share._asdict() for share in entry.shares]}


def _file(address: str | None) -> str | None:
    return None if address is None else f"/files/{quote(os.fsencode(address))}"


def _episode(entry: Entry, episode: EpisodeEntry) -> dict[str, Any]:
    return {
        **episode._asdict(),
        "video": _file(episode.video),
        "sheet": _file(episode.sheet),
        "outcome": _outcome(episode),
        "run": entry.id,
        "name": entry.name,
        "folder": shlex.quote(os.fsencode(entry.folder).decode(errors="replace")),
    }
