"""The prediction of benchmarks.scaling, where its answer is known."""

from __future__ import annotations

import pytest

from benchmarks.scaling import BATCH, Parts, parts_of, predicted
from sim_eval.rollout.keys import episode_keys
from sim_eval.samplers import Models, Unsteered
from tests.toy_models import ToyDenoiser
from tests.toy_task import ToyTask


def test_alone_a_process_takes_the_sum_of_the_parts() -> None:
    parts = Parts(start=1.0, execute=2.0, decide=4.0, parent=0.5, lengths=(3,), block=8)
    rate, busy = predicted(parts, 1, 1)
    seconds = 0.5 + 1.0 + 4.0 + 3 * (4.0 + 2.0)
    assert rate == pytest.approx(60 / seconds)
    assert busy == pytest.approx(0.5 / seconds)


def test_full_slots_share_a_decision() -> None:
    parts = Parts(start=0.0, execute=0.0, decide=1.0, parent=0.0, lengths=(5,), block=BATCH)
    assert predicted(parts, 1, BATCH)[0] == pytest.approx(60 * BATCH / (BATCH + 5))  # the timed ones are made alone
    assert predicted(parts, 2, 2 * BATCH)[0] == pytest.approx(2 * 60 * BATCH / (BATCH + 5))


def test_the_parent_limits_many_processes() -> None:
    parts = Parts(start=0.1, execute=0.1, decide=0.1, parent=1.0, lengths=(4, 8), block=8)
    rate, busy = predicted(parts, 64, 6400)
    assert rate == pytest.approx(60, rel=0.01)
    assert busy == pytest.approx(1, abs=0.01)


def test_parts_are_of_what_was_played() -> None:
    keys = episode_keys("toy", 0, 20)
    parts = parts_of(ToyTask, keys, Unsteered(), Models(ToyDenoiser()))
    assert len(parts.lengths) == len(keys)
    assert min(parts.start, parts.execute, parts.decide, parts.parent) > 0
