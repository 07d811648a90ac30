"""A probe's figures where they are known in closed form; and that nothing but models and keys changes them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.critic import Critic
from policies.observation import ObservationRequest as PolicyRequest
from policies.policy import Observations
from sim_eval.analysis.statistics import roc_area
from sim_eval.commands import cli
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.probing.measures import area, leaving, spread
from sim_eval.probing.options import PAGE, PROBE, ProbeOptions
from sim_eval.probing.play import early_decisions
from sim_eval.probing.probe import Probe, probe
from sim_eval.report.probe import probe_lines
from sim_eval.samplers.denoise import denoise
from tasks.task import ArraySpec, EpisodeKey, Observation, ObservationRequest, Outcome, TaskSpec
from tests.mixture import MixtureDenoiser
from tests.toy_models import ToyDenoiser

HERE = Path(__file__).parent
TOY = [f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser"]
TOY += [f"critic={HERE}/toy_models.py:ToyCritic", "episodes=12", "workers=0"]
SUM = [f"task={__file__}:Sum", f"policy={__file__}:normal", "episodes=60", "decisions=4", "workers=0", "batch=64"]
UNREPEATED = itertools.count()


class Sum:
    """Four actions from 0; a success if the first coordinates' sum is positive. `drift`: no two steps are the same."""

    spec: ClassVar[TaskSpec] = TaskSpec("sum", "go up", 4, 20, ArraySpec((2,)), {"state": ArraySpec((1,))})

    def __init__(self, drift: bool = False) -> None:
        self.drift = drift

    def reset(self, key: EpisodeKey) -> None:
        self._sum, self._steps = np.zeros(1, np.float32), 0

    def step(self, action: np.ndarray) -> Outcome:
        self._sum, self._steps = self._sum + action[:1] + self.drift * next(UNREPEATED), self._steps + 1
        done = self._steps == self.spec.max_steps
        return Outcome(0.0, bool(done and self._sum[0] > 0), done)

    def observe(self, request: ObservationRequest) -> Observation:
        return {"state": self._sum}

    def state_hash(self) -> str:
        return "0"

    def close(self) -> None: ...


class EndsSooner(Sum):
    """The second time, an episode ends at its first step."""

    played: ClassVar[set[int]] = set()

    def reset(self, key: EpisodeKey) -> None:
        super().reset(key)
        self._again = key.episode in self.played
        self.played.add(key.episode)

    def step(self, action: np.ndarray) -> Outcome:
        outcome = super().step(action)
        return replace(outcome, done=outcome.done or self._again)


def normal() -> MixtureDenoiser:
    """Standard normal actions in every state."""
    return MixtureDenoiser(torch.zeros(1, 2), torch.ones(1), torch.ones(1))


class SumCritic(Critic):
    """Q = `sign` * the sum after the action: perfect for sign 1, constant for 0, perfectly wrong for -1."""

    observations = ("state",)

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.from_numpy(observation["state"])

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return self.sign * (encoded[:, 0] + actions[:, 0, 0])


def settings(output: Path, *arguments: str) -> ProbeOptions:
    return read_command("probe", [*arguments, f"output={output}"])


def summed(output: Path, sign: int, *changes: str) -> Probe:
    return probe(settings(output, *SUM, f"critic={__file__}:SumCritic", f"critic.sign={sign}", *changes))


def test_a_perfect_critics_choice_wins_and_never_loses(tmp_path: Path) -> None:
    """With other later noise, or from another state, some pairs would be lost."""
    found = summed(tmp_path, 1)
    assert found.argmax.lost == 0
    assert found.argmax.won >= 8
    assert found.argmax.p < 0.01
    assert found.verdict.endswith(
        f"({found.argmax.won} won, 0 lost, p = {found.argmax.p:.2g}): this critic can rank draws"
    )
    assert found.auc.value is not None
    assert found.auc.value > 0.8
    assert {pair.decision for pair in found.pairs} == {0, 1, 2, 3}
    # Q deviates as an action does within a state; across states, as the sum of 0 to 3 actions.
    deviation = float(denoise(normal(), torch.ones(1, 1, 2), None, 10)[0, 0, 0])
    assert found.spread.within == pytest.approx(deviation, rel=0.05)
    assert found.spread.across == pytest.approx(deviation * np.sqrt(1.5), rel=0.25)
    assert found.spread.ratio == found.spread.within / found.spread.across


def test_a_critic_that_is_wrong_is_said_to_be(tmp_path: Path) -> None:
    found = summed(tmp_path, -1)
    assert found.argmax.won == 0
    assert found.argmax.difference < 0
    assert found.verdict.endswith("this critic ranks draws the wrong way round")


def test_a_constant_critic_tells_nothing_apart(tmp_path: Path) -> None:
    found = summed(tmp_path, 0)
    assert (found.argmax.won, found.argmax.lost, found.argmax.p) == (0, 0, 1)
    assert found.verdict.endswith("show neither that this critic can rank draws nor that it cannot")
    assert (found.auc.value, found.auc_early.value) == (0.5, 0.5)
    assert (found.spread.within, found.spread.across, found.spread.ratio) == (0, 0, None)
    assert "0.00 / 0.00 = -" in "\n".join(probe_lines(found))


@pytest.mark.parametrize(("strength", "least", "most"), [(0, 0.0, 0.04), (1000, 1.0, 1.0)])
def test_chunks_leave_as_the_strength_says(tmp_path: Path, strength: float, least: float, most: float) -> None:
    found = summed(tmp_path, 1, "samplers=[qpilots_u]", f"sampler.qpilots_u.strength={strength}")
    shares = found.leaving.shares
    assert list(shares) == ["unsteered", "qpilots_u"]
    share, own = shares["qpilots_u"].value, shares["unsteered"].value
    assert share is not None
    assert least <= share <= most
    assert own is not None
    assert 0 <= own <= 0.04
    if strength == 0:
        assert share == own


def test_the_policys_own_draws_leave_as_often_as_they_should() -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.01, 10, (2000, 1, 1, 1))  # a state of close draws counts as much as one of distant draws
    drawn = scale * rng.standard_normal((2000, 21, 2, 3))
    far = drawn[:, 20] + 20 * scale[:, 0]
    found = leaving(drawn[:, :16], drawn[:, 16:20], {"own": drawn[:, 20], "far": far}, np.arange(2000) // 5)
    assert found.shares["own"].value == pytest.approx(0.01, abs=0.006)
    assert found.shares["own"].interval is not None
    assert found.shares["own"].interval[0] < 0.01 < found.shares["own"].interval[1]
    assert (found.shares["far"].value, found.shares["far"].interval) == (1, (1, 1))
    assert found.shares["far"].n == 2000


def test_a_policy_without_noise_is_left_by_any_other_chunk() -> None:
    same = np.ones((4, 16, 1, 2))
    found = leaving(same, same[:, :4], {"own": same[:, 0], "other": same[:, 0] + 1e-6}, np.arange(4))
    assert (found.shares["own"].value, found.shares["other"].value) == (0, 1)


def test_spread_in_numbers() -> None:
    found = spread(np.array([[0.0, 2.0], [4.0, 6.0]]))
    assert (found.states, found.draws) == (2, 2)
    assert (found.within, found.across) == (pytest.approx(np.sqrt(2)), pytest.approx(np.sqrt(8)))
    alone = spread(np.array([[0.0, 2.0]]))
    assert (alone.within, alone.across, alone.ratio) == (pytest.approx(np.sqrt(2)), 0, None)


def test_area_is_over_decisions_and_its_interval_over_episodes() -> None:
    q = [np.array([0.0, 1.0]), np.array([2.0, 0.5])] * 10
    found = area(q, [False, True] * 10)
    assert (found.value, found.n) == (0.75, 40)
    # Any resample that holds both outcomes has the same area, as the episodes of an outcome are alike.
    assert found.interval == (0.75, 0.75)
    assert area(q, [True] * 20).value is None
    rng = np.random.default_rng(0)
    ragged, won = [rng.integers(0, 5, rng.integers(1, 9)).astype(float) for _ in range(30)], rng.random(30) < 0.5
    found = area(ragged, list(won))
    assert found.value == pytest.approx(roc_area(np.concatenate(ragged), np.repeat(won, [*map(len, ragged)])))
    assert found.interval is not None
    assert found.value is not None
    assert found.interval[0] < found.value < found.interval[1]


@pytest.mark.parametrize(("decisions", "execute", "expected"), [(9, 8, 5), (9, 16, 3), (2, 8, 2), (99, 1, 40)])
def test_early_is_within_the_first_forty_control_steps(decisions: int, execute: int, expected: int) -> None:
    assert early_decisions(cast(Any, SimpleNamespace(decisions=decisions, execute=execute))) == expected


def test_the_figures_depend_on_neither_workers_nor_batch(tmp_path: Path) -> None:
    steered = ["samplers=[best_of_n,qpilots_u]", "sampler.qpilots_u.strength=0.5"]
    stored = []
    for name, changes in {"a": ["batch=16"], "b": ["workers=2", "batch=3"]}.items():
        probe(settings(tmp_path / name, *TOY, *steered, *changes))
        stored.append((tmp_path / name / PROBE).read_text())
    assert stored[0] == stored[1]
    kept = json.loads(stored[0])
    assert kept["block"] == "tune"
    assert len(kept["pairs"]) == kept["argmax"]["pairs"] == kept["episodes"] == 12
    assert sum(pair["draw"] for pair in kept["pairs"]) == kept["successes"]
    assert list(kept["leaving"]["shares"]) == ["unsteered", "best_of_n", "qpilots_u"]
    assert set(kept["checkpoints"]) >= {"policy", "critic"}


def test_crashed_episodes_are_left_out_and_named(tmp_path: Path) -> None:
    found = probe(settings(tmp_path, *TOY, "task.crash=step", "task.crash_in=[3,4]"))
    assert [line[:21] for line in found.left_out] == ["episode 3, unsteered:", "episode 4, unsteered:"]
    assert found.episodes == found.argmax.pairs == 10
    assert sum(line.startswith("left out: episode") for line in probe_lines(found)) == 2


def test_a_state_that_is_not_reached_again_is_in_no_pair(tmp_path: Path) -> None:
    found = summed(tmp_path, 1, "task.drift=true", "episodes=20")
    assert {pair.decision for pair in found.pairs} == {0}, "the start is the same"
    assert len(found.pairs) + len(found.left_out) == 20
    assert all("did not lead to the same state" in line for line in found.left_out)


def test_an_episode_that_ends_before_the_decision_is_in_no_pair(tmp_path: Path) -> None:
    found = summed(tmp_path, 1, f"task={__file__}:EndsSooner", "episodes=20")
    assert {pair.decision for pair in found.pairs} == {0}
    assert len(found.pairs) + len(found.left_out) == 20
    assert all("did not lead to the same state" in line for line in found.left_out)


def test_the_command_prints_and_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sim-eval", "probe", *TOY, f"output={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, _ = capsys.readouterr()
    assert ended.value.code == 0
    verdict = json.loads((tmp_path / PROBE).read_text())["verdict"]
    assert any(line.endswith(f"  {verdict}") for line in out.splitlines())
    assert out.splitlines()[-3:] == ["", str(tmp_path / PROBE), str(tmp_path / PAGE)]
    before = (tmp_path / PROBE).read_bytes()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "holds the figures of a probe, which are kept; accepted: another output" in capsys.readouterr().err
    assert (tmp_path / PROBE).read_bytes() == before


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("critic=none", "critic is none; a critic is what is probed; accepted: default"),
        ("episodes=0", "episodes is 0; accepted: a whole number of at least 1"),
        ("decisions=0", "decisions is 0; accepted: a whole number of at least 1"),
        (
            "samplers=[qpilots_u]",
            "no strength has been tuned for task=toy_task policy=toy_models.ToyDenoiser sampler qpilots_u",
        ),
        ("states=3", "unknown option states; accepted:"),
    ],
)
def test_a_bad_option_is_named(tmp_path: Path, argument: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        settings(tmp_path, *TOY, argument)


def test_models_that_do_not_fit_are_refused_before_anything_is_played(tmp_path: Path) -> None:
    steered = ["samplers=[qpilots_u]", "sampler.qpilots_u.strength=1"]
    with pytest.raises(RunError, match="sampler qpilots_u needs a Denoiser"):
        probe(settings(tmp_path, *TOY, f"policy={HERE}/toy_models.py:ToyPolicy", *steered))
    strengths = tmp_path / "strengths.yaml"
    strengths.write_text("toy_task: {toy_models.ToyDenoiser: {policy: a, critic: b, strengths: {qpilots_u: 1.0}}}\n")
    with pytest.raises(RunError, match=r"another policy and critic; give one with sampler\.qpilots_u\.strength"):
        probe(settings(tmp_path, *TOY, steered[0], f"strengths={strengths}"))


def twice() -> ToyDenoiser:
    """It sees the last two control steps, and decides on the last."""
    return ToyDenoiser(request=PolicyRequest(("position",), history=2))


def test_the_critic_of_a_policy_that_sees_earlier_steps_reads_the_latest(tmp_path: Path) -> None:
    found = probe(settings(tmp_path / "a", *TOY, f"policy={__file__}:twice"))
    alone = probe(settings(tmp_path / "b", *TOY))
    assert (found.auc, found.spread, found.leaving) == (alone.auc, alone.spread, alone.leaving)


def test_a_policy_that_only_samples_can_be_probed(tmp_path: Path) -> None:
    black_box = probe(settings(tmp_path / "a", *TOY, f"policy={HERE}/toy_models.py:ToyPolicy"))
    assert black_box.pairs == probe(settings(tmp_path / "b", *TOY)).pairs
