"""The progress bar fits the terminal and shows the sampler that is running."""

from __future__ import annotations

import re

import pytest
from tqdm import tqdm

from sim_eval.evaluation import progress
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.local_engine import LocalEngine
from sim_eval.rollout.result import Spent
from sim_eval.samplers import Models, Unsteered
from tests.made_up import made_up_record
from tests.toy_models import ToyDenoiser
from tests.toy_task import ToyTask


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Shown(tqdm):
        def __init__(self, **options: object) -> None:
            super().__init__(**{**options, "disable": False, "dynamic_ncols": False, "ncols": width, "mininterval": 0})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            shown.append(str(self))

    monkeypatch.setattr(progress, "tqdm", Shown)
    with progress.Progress(3000) as bar:
        bar.begin([made_up_record(sampler="unsteered")])
        assert "starting" not in shown[-1], "a finished run starts nothing"
        bar.start({"stepping": "fast"})
        assert "starting" in shown[-1]
        for _ in range(3):
            bar.note(made_up_record(sampler="value_guided_at_0.6"), Spent(1e-9, 2e-9, 3e-9))
    bars = [line for line in shown if "/min" in line]
    assert re.search(r"/min, value_guided_at_0.6 3/3$", bars[-1])
    assert "cores: simulating 0%, drawing 0%, deciding 0%, waiting 100%" in shown
    assert max(map(len, shown)) <= width
    assert any(line.startswith("1/3000 |") for line in shown)


def test_cores_are_shared_among_what_they_do() -> None:
    assert (
        progress._shares(Spent(3.0, 1.0, 2.0), 8.0) == "cores: simulating 38%, drawing 12%, deciding 25%, waiting 25%"
    )
    assert progress._shares(Spent(3.0, 1.0, 4.0), None) == "cores: simulating 38%, drawing 12%, deciding 50%"


def test_an_episode_tells_where_its_time_went() -> None:
    (episode,) = LocalEngine(ToyTask, 0, 1).play(episode_keys("toy", 0, 1), Unsteered(), Models(ToyDenoiser()), "toy")
    assert all(seconds > 0 for seconds in episode.spent)
    assert sum(episode.spent) <= episode.wall_s + 0.001
