"""The progress bar fits the terminal and shows the sampler that is running."""

from __future__ import annotations

import re

import pytest
from tqdm import tqdm

from sim_eval.evaluation import progress
from tests.made_up import made_up_record


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
            bar.note(made_up_record(sampler="value_guided_at_0.6"))
    assert re.search(r"/min, value_guided_at_0.6 3/3$", shown[-1])
    assert max(map(len, shown)) <= width
    assert any(line.startswith("1/3000 |") for line in shown)
