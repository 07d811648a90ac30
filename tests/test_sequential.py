"""Stopping when decided: the anytime-valid test, what a run plays, and what its report says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import made_run
from policies.policy import Observations
from sim_eval.analysis.compare import compare
from sim_eval.analysis.sequential import (
    anytime_p,
    decided_at,
    evidence,
    pairs_needed,
    power,
    running_p,
    simulate,
    smallest_difference,
)
from sim_eval.analysis.statistics import holm, letters, mcnemar
from sim_eval.commands.cli import read_command
from sim_eval.evaluation.evaluate import evaluate
from sim_eval.evaluation.progress import Progress
from sim_eval.evaluation.stopping import ROUND, playing_on, rounds
from sim_eval.foundation.errors import RunError
from sim_eval.report import comparison as report
from sim_eval.report.plan import Study, plan_lines
from sim_eval.runs.records import Record, read
from sim_eval.samplers.sampler import Models, Sampler, required_denoiser
from tests import toy_run
from tests.toy_models import ToyCritic, ToyDenoiser, ToySampler
from tests.toy_task import ToyTask


def outcomes(won: int, lost: int, ties: int = 0) -> list[tuple[bool, bool]]:
    return [(True, False)] * won + [(False, True)] * lost + [(True, True)] * ties


def test_the_e_value_is_the_uniform_mixtures_likelihood_ratio() -> None:
    share = (np.arange(100_000) + 0.5) / 100_000
    for won, lost in ((0, 0), (3, 0), (5, 2), (40, 60)):
        ratio = np.mean(share**won * (1 - share) ** lost) * 2 ** (won + lost)
        assert 10 ** evidence([*outcomes(won, lost), (True, True)])[-1] == pytest.approx(ratio, rel=1e-6)
        exact = 2 ** (won + lost) / ((won + lost + 1) * comb(won + lost, won))
        assert anytime_p(won, lost) == pytest.approx(min(1.0, 1 / exact))


def test_the_evidence_is_a_martingale_where_nobody_is_better() -> None:
    """Its mean over what the next discordant pair may bring is what it is: nothing is gained by betting on chance."""
    for won, lost in ((0, 0), (4, 1), (7, 9)):
        now, then = evidence(outcomes(won, lost)), [evidence(outcomes(won + w, lost + 1 - w))[-1] for w in (0, 1)]
        assert np.mean(10.0 ** np.array(then)) == pytest.approx(10 ** (now[-1] if now else 0.0))


def test_p_never_rises_and_costs_more_than_a_fixed_test() -> None:
    pairs = outcomes(12, 0) + outcomes(0, 12)
    p = running_p(evidence(pairs))
    assert np.all(np.diff(p) <= 0)
    assert p[-1] == p[11] == pytest.approx(anytime_p(12, 0))
    assert mcnemar(12, 0) < p[11]
    assert running_p(evidence([])).size == 0


def test_null_studies_stop_wrongly_in_at_most_five_per_cent() -> None:
    """Four samplers like the baseline, looked at after every one of 200 pairs, with Holm's correction."""
    generator, wrong, studies = np.random.default_rng(0), 0, 200
    for _ in range(studies):
        solved = generator.random((5, 200)) < 0.5
        pairs = [list(zip(row.tolist(), solved[0].tolist(), strict=True)) for row in solved[1:]]
        wrong += any(when is not None for when in decided_at([running_p(evidence(pair)) for pair in pairs], 0.05))
    assert wrong <= 0.05 * studies + 2 * math.sqrt(0.05 * 0.95 * studies)


def test_decisions_are_holms_at_every_number_of_pairs() -> None:
    strong, weak = running_p(evidence(outcomes(30, 0))), running_p(evidence(outcomes(8, 0, ties=40)))
    when = decided_at([strong, weak], 0.05)
    assert when == [
        next(n for n in range(1, 50) if holm([strong[min(n, 30) - 1], weak[n - 1]])[index] < 0.05) for index in (0, 1)
    ]
    assert when == [9, 9]  # eight wins are enough for the second once the first is decided
    assert anytime_p(8, 0) < 0.05 <= 2 * anytime_p(8, 0)
    assert decided_at([np.zeros(0), running_p(evidence(outcomes(1, 1)))], 0.05) == [None, None]


@dataclass(frozen=True)
class Still:
    """Never moves, and so fails wherever the start is no success."""

    needs: ClassVar[frozenset[str]] = frozenset({"denoiser"})

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        denoiser = required_denoiser(models)
        return torch.zeros(len(generators), denoiser.horizon, denoiser.action_dim)


SAMPLERS: dict[str, Sampler] = {"unsteered": ToySampler(), "same": ToySampler(), "still": Still()}


def decided_run(output: Path, **changes: object) -> list[Record]:
    asked = toy_run.settings(output, samplers=[], until="decided", **{"episodes": 60, **changes})
    asked = type(asked)(**{**vars(asked), "sampler": {name: {} for name in SAMPLERS}})
    models = Models(ToyDenoiser(), ToyCritic(), fingerprints={"policy": "abc"})
    with Progress(asked.episodes * len(SAMPLERS)) as progress:
        return evaluate(asked, SAMPLERS, ToyTask, models, progress)


def test_a_run_stops_each_sampler_when_it_is_decided(tmp_path: Path) -> None:
    decided_run(tmp_path / "run")
    counts = {name: sum(record.sampler == name for record in read(tmp_path / "run")) for name in SAMPLERS}
    assert counts == {"unsteered": 60, "same": 60, "still": ROUND}
    comparison = compare([tmp_path / "run"])
    (table,) = comparison.tables
    still, same = table.row("still").pairing, table.row("same").pairing
    assert still is not None
    assert same is not None
    assert still.decided is not None
    assert still.decided <= still.pairs == ROUND
    assert same.decided is None
    assert comparison.warnings == []
    text = report.markdown(comparison)
    assert f"same is undecided after 60 episodes and still was decided at episode {still.decided}" in text
    assert "anytime-valid" in text
    report.write(comparison, tmp_path / "report")
    assert "When each comparison was decided" in (tmp_path / "report" / report.HTML).read_text()


def test_what_is_played_depends_on_neither_batch_nor_interruptions(tmp_path: Path) -> None:
    def played(folder: Path) -> set[tuple[str, int, bool]]:
        return {(record.sampler, record.episode, record.success) for record in read(folder)}

    decided_run(tmp_path / "one")
    decided_run(tmp_path / "two", batch=16)
    assert played(tmp_path / "one") == played(tmp_path / "two")
    lines = (tmp_path / "one" / "records.jsonl").read_bytes().splitlines(keepends=True)
    for kept in (0, 5, 45, 70, len(lines) - 3):
        (tmp_path / "two" / "records.jsonl").write_bytes(b"".join(lines[:kept]))
        decided_run(tmp_path / "two")
        assert played(tmp_path / "one") == played(tmp_path / "two")


def test_who_plays_on_is_read_from_the_rounds_before(tmp_path: Path) -> None:
    most = [0, 1, 1, 1] * 10
    run = made_run.write(tmp_path, "made", {"unsteered": most, "a": [1] * 40, "b": most})
    records = read(run)
    names = ["unsteered", "a", "b"]
    assert playing_on(records, names, before=0) == names
    assert playing_on(records, names, before=ROUND) == names  # five pairs won are too few
    assert playing_on(records, names, before=40) == ["unsteered", "b"]
    assert playing_on(records, ["unsteered", "a"], before=40) == []
    assert [(part.start, part.stop) for part in rounds(50)] == [(0, 20), (20, 40), (40, 50)]


def test_an_unfinished_run_is_told(tmp_path: Path) -> None:
    made_run.write(tmp_path, "made", {"unsteered": [0, 1] * 5, "a": [1, 0] * 5}, {"until": "decided", "episodes": 40})
    assert "made flow a: undecided after 10 of 40 episodes" in compare([tmp_path]).warnings


def test_tables_that_stopped_early_are_pooled_by_the_same_test(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / task, task, {"unsteered": [0] * 10, "a": [1] * 10}, {"until": "decided"})
        for task in ("one", "two")
    ]
    (pooled,) = compare(runs).pooled
    assert pooled.p == pytest.approx(anytime_p(20, 0))


def test_a_single_sampler_decides_nothing() -> None:
    with pytest.raises(RunError, match="until is decided, which compares samplers"):
        read_command("evaluate", ["task=lift", "critic=none", "samplers=[unsteered]", "until=decided"])
    with pytest.raises(RunError, match="until is never; accepted: episodes, decided"):
        read_command("evaluate", ["task=lift", "until=never"])


def test_letters_are_shared_by_those_that_cannot_be_told_apart() -> None:
    generator = np.random.default_rng(0)
    names = list("stuvwxyz")
    for share in (0.0, 0.2, 0.5, 1.0):
        pairs = [frozenset((a, b)) for a in names for b in names if a < b]
        different = {pair for pair in pairs if generator.random() < share}
        given = letters(names, different)
        assert all((not set(given[a]) & set(given[b])) == (pair in different) for pair in pairs for a, b in [pair])
    assert letters(names, set()) == dict.fromkeys(names, "a")
    assert letters(["best", "mid", "worst"], {frozenset(("best", "worst"))}) == {"best": "a", "mid": "ab", "worst": "b"}


def test_power_is_that_of_the_exact_test() -> None:
    generator = np.random.default_rng(0)
    pairs, discordant, difference = 60, 0.4, 0.2
    shares = [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
    drawn = generator.multinomial(pairs, shares, size=4000)
    found = float(np.mean([mcnemar(int(won), int(lost)) < 0.05 for won, lost, _ in drawn]))
    assert power(pairs, difference, discordant, 0.05) == pytest.approx(found, abs=0.02)
    assert power(5, 1.0, 1.0, 0.05) == 0.0  # five wins of five: p = 0.0625
    assert power(6, 1.0, 1.0, 0.05) == pytest.approx(1.0)


def test_what_so_many_pairs_show_and_how_many_a_difference_needs() -> None:
    smallest = smallest_difference(100, 0.4, 0.05, 0.8)
    assert smallest is not None
    assert power(100, smallest, 0.4, 0.05) >= 0.8 > power(100, smallest - 0.01, 0.4, 0.05)
    needed = pairs_needed(0.2, 0.4, 0.05, 0.8)
    assert needed is not None
    assert power(needed, 0.2, 0.4, 0.05) >= 0.8 > power(needed - 1, 0.2, 0.4, 0.05)
    assert smallest_difference(5, 0.4, 0.05, 0.8) is None
    assert pairs_needed(0.001, 0.4, 0.05, 0.8) is None


def test_simulated_studies_have_the_tests_level_and_stop_early_where_much_differs() -> None:
    null = simulate(0.0, 0.4, 0.05, 200, 2000, np.random.default_rng(0))
    assert 0.005 < null.share <= 0.05
    clear = simulate(0.4, 0.5, 0.05, 200, 500, np.random.default_rng(0))
    assert clear.share == 1.0
    assert clear.mean_pairs < 40


def test_a_plan_says_what_can_be_shown() -> None:
    plan = read_command("plan", ["episodes=[100,5]", "differences=[0.2,0.001]", "comparisons=1"])
    text = "\n".join(plan_lines(plan.episodes, plan.differences, Study(plan.discordant, plan.comparisons, plan.power)))
    assert (
        f"100 pairs show a difference of {round(100 * (smallest_difference(100, 0.4, 0.05, 0.8) or 0))} points" in text
    )
    assert "5 pairs show no difference" in text
    assert f"20 points need {pairs_needed(0.2, 0.4, 0.05, 0.8)} pairs; until=decided takes" in text
    assert "0.1 points need more than 10000 pairs" in text
    for argument in ("discordant=1.2", "power=0", "differences=[2]", "episodes=[0]", "comparisons=0"):
        with pytest.raises(RunError, match=argument.partition("=")[0]):
            read_command("plan", [argument])
