"""Which episodes to render: those that steering rescues, those that it breaks, all, or the first N."""

from __future__ import annotations

from collections.abc import Sequence

from sim_eval.foundation.errors import RunError
from sim_eval.runs.records import BASELINE, Record

#: "rescued", "broken", "all", or N for the first N episodes.
Pick = str | int

_NAMED = ("rescued", "broken", "all")


def read_pick(text: str) -> Pick:
    """The value of the option `videos`. Raises RunError if it is not a pick."""
    if text in _NAMED:
        return text
    if text.isdecimal():
        return int(text)
    raise RunError(f"videos is {text}; accepted: {', '.join(_NAMED)} or a whole number, the first so many episodes")


def check_pick(pick: Pick, samplers: Sequence[str]) -> None:
    """Raise RunError if the pick compares samplers and `samplers` contains nothing to compare."""
    if pick in ("rescued", "broken") and (BASELINE not in samplers or len(samplers) < 2):
        raise RunError(
            f"videos is {pick}, which compares samplers with {BASELINE}: it needs {BASELINE} and another sampler, "
            f"there is {', '.join(samplers)}"
        )


def picked(pick: Pick, records: Sequence[Record], samplers: Sequence[str]) -> set[int]:
    """The numbers of the picked episodes; `records` are a run's records without errors.

    rescued: unsteered fails and at least one of `samplers` succeeds from the same start; broken: the reverse.
    """
    episodes = sorted({record.episode for record in records if record.sampler in samplers})
    if pick == "all":
        return set(episodes)
    if isinstance(pick, int):
        return set(episodes[:pick])
    baseline = {(record.episode, record.state_hash): record.success for record in records if record.sampler == BASELINE}
    won = pick == "rescued"
    return {
        record.episode
        for record in records
        if record.sampler in samplers
        and record.success == won
        # without a baseline record from this start there is no pair
        and baseline.get((record.episode, record.state_hash), won) != won
    }
