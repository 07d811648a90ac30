"""Which episodes are rendered: rescued, broken, all, or the first few."""

from __future__ import annotations

import pytest

from sim_eval.foundation.errors import RunError
from sim_eval.runs.records import Record
from sim_eval.video.picks import check_pick, picked, read_pick
from tests.made_up import made_up_record

#: Successes by episode, and where a start differs.
OUTCOMES = {"unsteered": "0011", "qpilots_u": "0101", "best_of_n": "0001"}


def made_up(moved: tuple[str, int] | None = None) -> list[Record]:
    return [
        made_up_record(
            sampler=sampler,
            episode=episode,
            success=won == "1",
            state_hash="moved" if (sampler, episode) == moved else f"start {episode}",
        )
        for sampler, outcomes in OUTCOMES.items()
        for episode, won in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("pick", "samplers", "episodes"),
    [
        ("rescued", ["unsteered", "qpilots_u"], {1}),
        ("broken", ["unsteered", "qpilots_u"], {2}),
        ("rescued", ["best_of_n"], set()),
        ("broken", ["best_of_n"], {2}),
        ("rescued", ["qpilots_u", "best_of_n"], {1}),
        ("all", ["unsteered"], {0, 1, 2, 3}),
        (2, ["unsteered", "qpilots_u"], {0, 1}),
        (0, ["unsteered"], set()),
        (9, ["unsteered"], {0, 1, 2, 3}),
    ],
)
def test_picks(pick: str | int, samplers: list[str], episodes: set[int]) -> None:
    assert picked(pick, made_up(), samplers) == episodes


@pytest.mark.parametrize("pick", ["rescued", "broken"])
def test_another_start_is_no_pair(pick: str) -> None:
    episode = 1 if pick == "rescued" else 2
    assert picked(pick, made_up(("qpilots_u", episode)), ["qpilots_u"]) == set()


@pytest.mark.parametrize("value", ["rescue", "-1", "1.5", "true", "[0]"])
def test_what_is_no_pick_is_named(value: str) -> None:
    with pytest.raises(RunError, match=r"videos is .*; accepted: rescued, broken, all or a whole number"):
        read_pick(value)


@pytest.mark.parametrize("samplers", [["unsteered"], ["qpilots_u", "best_of_n"]])
def test_comparing_picks_need_something_to_compare(samplers: list[str]) -> None:
    check_pick("all", samplers)
    check_pick("broken", ["unsteered", "qpilots_u"])
    with pytest.raises(RunError, match="videos is rescued, which compares samplers with unsteered"):
        check_pick("rescued", samplers)
