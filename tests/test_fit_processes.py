"""Fits in processes of their own: what they return, raise and die of."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from sim_eval.foundation.errors import RunError
from sim_eval.training.fit_processes import FitProcesses


@dataclass(frozen=True)
class Fit:
    """Fails or dies with these numbers."""

    number: int

    def __call__(self) -> tuple[int, int]:
        if self.number == 4:
            raise FloatingPointError("the loss is nan")
        if self.number == 5:
            os._exit(1)
        return self.number, os.getpid()


def test_fits_run_side_by_side_and_end_as_in_this_process() -> None:
    assert FitProcesses(1).start([Fit(1), Fit(2)])() == [(1, os.getpid()), (2, os.getpid())]
    with FitProcesses(2) as processes:
        (first, one), (second, other) = processes.start([Fit(1), Fit(2)])()
        assert (first, second) == (1, 2)
        assert len({one, other, os.getpid()}) == 3
        with pytest.raises(FloatingPointError, match="the loss is nan"):
            processes.start([Fit(4)])()
        with pytest.raises(RunError, match="a process that fitted a critic died; accepted: workers=0"):
            processes.start([Fit(5)])()
