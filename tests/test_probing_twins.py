"""Twins of a critic: their gains where they are known in closed form, the sentence, the oracle and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.critic import Critic
from critics.ensemble import EnsembleCritic
from critics.outcome import OutcomeCritic
from policies.policy import Observations
from sim_eval.commands import cli
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.probing.gains import Gain, Gains, Judged, Peak, gains, judged_choice, judged_steering
from sim_eval.probing.measures import Figure, mean
from sim_eval.probing.options import PAGE, PROBE, ProbeOptions
from sim_eval.probing.oracle import state_value
from sim_eval.probing.probe import Probe, probe
from sim_eval.probing.sentence import CHOOSE, LEAVE, STEER, UNTOLD, sentence
from sim_eval.probing.states import States
from sim_eval.probing.twins import fitted
from sim_eval.report.probe import probe_lines
from sim_eval.report.probe_page import html
from sim_eval.rollout.inference import PendingDecision
from sim_eval.rollout.keys import episode_keys
from sim_eval.samplers import VGPS, BestOfN, Models, QPilotsU, Sampler, ValueGuided
from sim_eval.training.critic import SPREAD_STATES
from sim_eval.training.draws import policy_draws, q_spread
from sim_eval.training.online import learn
from sim_eval.training.online_fit import agreement, set_scale
from sim_eval.training.stages import run_stages
from sim_eval.training.trajectories import read_hdf5
from tests.mixture import MixtureDenoiser

HERE = Path(__file__).parent
TOY = [f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser", "workers=0"]
PROBED = [*TOY, "episodes=12", "decisions=3"]
STEERED = ["samplers=[qpilots_u]", "sampler.qpilots_u.strength=0.5", "strengths_tried=[1,0]"]
HIGHEST_OF_8 = 1.4236  # mean of the highest of 8 standard normal numbers


class Linear(Critic):
    """Q = the action's first coordinate times `first` plus its second times `second`."""

    observations = ("state",)

    def __init__(self, first: float, second: float) -> None:
        self._weights = torch.tensor([float(first), float(second)])

    def encode(self, observation: Observations, features: Tensor | None) -> Tensor:
        return torch.from_numpy(observation["state"])

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return actions[:, 0] @ self._weights


NORMAL = Models(MixtureDenoiser(torch.zeros(1, 2), torch.ones(1), torch.ones(1)))
ALONG, ACROSS = Linear(1, 0), Linear(0, 1)
STATES = States(
    [
        PendingDecision(key, number, {"state": np.zeros(1, np.float32)})
        for key in episode_keys("toy", 0, 60, "tune")
        for number in range(5)
    ],
    batch=16,
)


def steered(twins: tuple[Critic, Critic], strength: float, sampler: Sampler | None = None) -> Judged:
    sampler = sampler or QPilotsU(strength=9, steps=50)
    (found,) = judged_steering(NORMAL, twins, STATES, "mine", sampler, [strength])
    return found


def test_the_gain_of_an_exact_tilt() -> None:
    """Of a standard normal by exp(strength Q), Q linear: the mean moves by strength times Q's gradient."""
    found = steered((ALONG, Linear(2, 0)), 0.5)
    assert found.own.mean() == pytest.approx(0.5 * (1 + 4) / 2, rel=0.05)
    assert found.twin.mean() == pytest.approx(0.5 * 2, rel=0.05)
    assert found.own.shape == found.twin.shape == (300,)


@pytest.mark.parametrize("sampler", [None, ValueGuided(1.0), VGPS(1.0)])
def test_a_twin_that_is_the_same_critic_gains_as_much(sampler: Sampler | None) -> None:
    found = steered((ALONG, ALONG), 1.0, sampler)
    np.testing.assert_array_equal(found.own, found.twin)
    assert found.own.mean() > 0.5


def test_a_twin_that_knows_nothing_of_it_gains_nothing() -> None:
    found = steered((ALONG, ACROSS), 1.0)
    assert found.own.mean() == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(found.twin, 0, atol=1e-5)


@pytest.mark.parametrize("sampler", [None, ValueGuided(1.0)])
def test_strength_0_gains_nothing(sampler: Sampler | None) -> None:
    found = steered((ALONG, ACROSS), 0.0, sampler)
    assert not found.own.any()
    assert not found.twin.any()


def test_the_gain_of_a_choice() -> None:
    choosing = BestOfN(steps=50)
    alone = judged_choice(NORMAL, (ALONG, ALONG), STATES, choosing)
    np.testing.assert_array_equal(alone.own, alone.twin)
    assert alone.own.mean() == pytest.approx(HIGHEST_OF_8, rel=0.1)
    other = judged_choice(NORMAL, (ALONG, ACROSS), STATES, choosing)
    assert other.own.mean() == pytest.approx(HIGHEST_OF_8, rel=0.1)
    found = mean(other.twin, STATES.episodes)
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]
    assert found.n == 300
    assert not judged_choice(NORMAL, (ALONG, ACROSS), STATES, BestOfN(n=1)).own.any()


def test_the_peak_is_the_strength_that_the_twin_likes_best() -> None:
    """The least of equals."""
    samplers: dict[str, Sampler] = {"best_of_n": BestOfN(steps=10), "qpilots_u": QPilotsU(9.0)}
    found = gains(NORMAL, (ALONG, ALONG), STATES, samplers, [0.0, 1.0, 4.0])
    assert list(found.tried) == list(found.peaks) == ["qpilots_u"]
    assert [gain.strength for gain in found.tried["qpilots_u"]] == [0, 1, 4]
    peak = found.peaks["qpilots_u"]
    assert peak.gain == found.tried["qpilots_u"][2]
    assert peak.gain.twin.value is not None
    assert found.best_of_n.twin.value is not None
    assert peak.over_best_of_n.value == pytest.approx(peak.gain.twin.value - found.best_of_n.twin.value)
    assert sentence(found).startswith(f"{STEER}, with qpilots_u at strength 4: ")
    weak = gains(NORMAL, (ALONG, ALONG), STATES, samplers, [0.0, 0.1])
    assert sentence(weak).startswith(f"{CHOOSE}: ")
    unknown = gains(NORMAL, (ALONG, ACROSS), STATES, samplers, [0.0])
    assert unknown.peaks["qpilots_u"].gain.strength == 0


def test_values_depend_on_no_other_state() -> None:
    draws = STATES.draws(NORMAL, 3, 10, "draws")
    some = States(STATES.visits[7:20], batch=3)
    np.testing.assert_array_equal(some.draws(NORMAL, 3, 10, "draws"), draws[7:20])
    q = STATES.values(NORMAL.policy, ALONG, draws)
    np.testing.assert_allclose(q, draws[:, :, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(some.values(NORMAL.policy, ALONG, draws[7:20]), q[7:20])


def test_a_mean_is_over_states_and_its_interval_over_episodes() -> None:
    found = mean(np.array([1.0, 1.0, 4.0]), np.array([3, 3, 9]))
    assert (found.value, found.interval, found.n) == (2, (1, 4), 3)
    assert not Figure(1.0, (0.0, 2.0), 3).above_zero
    assert Figure(1.0, (0.1, 2.0), 3).above_zero
    assert not Figure(None, None, 0).above_zero


def figure(value: float, half: float = 0.1) -> Figure:
    return Figure(value, (value - half, value + half), 100)


def made(choice: float, tried: dict[str, list[float]], over: float = 0.0) -> Gains:
    """Twin gains with intervals of 0.1 to either side: of `best_of_n`, of samplers at strengths 1, 2, ..."""
    gained = {
        name: tuple(Gain(name, 1.0 + number, figure(5), figure(value)) for number, value in enumerate(values))
        for name, values in tried.items()
    }
    best = {name: max(found, key=lambda gain: gain.twin.value or 0) for name, found in gained.items()}
    peaks = {name: Peak(gain, figure(over)) for name, gain in best.items()}
    return Gains(Gain("best_of_n", None, figure(5), figure(choice)), gained, peaks)


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (made(0.3, {"m": [0.4, 0.2], "u": [0.3, 2.6]}, 0.3), f"{STEER}, with u at strength 2: by the twin's judgement"),
        (made(-0.3, {"u": [2.5]}, 0.5), f"{STEER}, with u at strength 1"),
        (
            made(0.3, {"u": [0.3, 2.3]}, 0.3),
            f"{UNTOLD} whether to steer: the twin confirms less than 50% of the gain of 5.00 that the critic believes",
        ),
        (
            made(0.3, {"u": [0.2, 0.3]}, 0.0),
            f"{CHOOSE}: by the twin's judgement u at strength 2 gains 0.30 [0.20..0.40]",
        ),
        (made(0.3, {}), f"{CHOOSE}: by the twin's judgement best_of_n gains 0.30 [0.20..0.40]; no sampler with"),
        (made(0.05, {"u": [-1.0, 0.08]}, 0.03), f"{LEAVE}: by the twin's judgement the interval of no gain is above 0"),
        (made(0.0, {}), f"{LEAVE}: by the twin's judgement"),
        (made(-0.5, {"u": [0.05]}, 0.55), f"{LEAVE}: by the twin's judgement"),  # above best_of_n, which does harm
        (Gains(Gain("best_of_n", None, figure(0.3), figure(0.2, 0.4)), {}, {}), f"{UNTOLD}: by the twin's"),
        (made(0.3, {"u": [0.35]}, 0.05), f"{UNTOLD} whether to steer or to choose: by the twin's judgement u"),
        (made(0.05, {"u": [0.15]}, 0.1), f"{UNTOLD} whether to steer or to choose"),
    ],
)
def test_the_sentence_says_no_more_than_the_gains(found: Gains, start: str) -> None:
    assert sentence(found).startswith(start)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("learned") / "run"
    options = ["steps=60", "rollouts=10", "round=4", "evaluate=1000", "episodes=4", "rows=32", "heads=2"]
    options += ["pessimism=0.5", "updates=20", "samplers=[qpilots_u]", "sampler.qpilots_u.strength=0.5", "seed=3"]
    learn(read_command("learn", [*TOY, *options, f"output={output}"]))
    return output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    options = ["stage=rollouts,critic", "rollouts=6", "critic_steps=20", "batch=32", "critic_methods=[monte_carlo]"]
    asked = read_command("train", [*TOY, *options, f"data={folder}/data", f"checkpoints={folder}/mine"])
    run_stages(asked.stage, asked.workspace(), asked.recipe(), asked.workers)
    return folder


def rollouts(trained: Path) -> Path:
    (path,) = trained.glob("data/*/rollouts_*.hdf5")
    return path


def settings(output: Path, *arguments: str) -> ProbeOptions:
    return read_command("probe", [*PROBED, *arguments, f"output={output}"])


def test_the_twins_are_those_of_the_learner(learned: Path, tmp_path: Path) -> None:
    """They agree exactly as much as the run says, and each has Q on its own scale."""
    asked = settings(tmp_path, f"critic={learned}", "seed=3")
    models = asked.build_models([*asked.build_samplers().values(), BestOfN()])
    assert isinstance(models.critic, EnsembleCritic)
    found = fitted(asked, models)
    files = sorted((learned / "replay").glob("*.hdf5"))
    assert len(files) > 1
    assert found.episodes == sum(len(read_hdf5(path)) for path in files)
    generator = torch.Generator().manual_seed(3 + len(files) - 1)
    latest = read_hdf5(files[-1], models.critic.observations)
    draws = policy_draws(models, models.critic, latest, SPREAD_STATES, generator)
    stored = json.loads((learned / "curve.json").read_text())[-1]["critic"]["twin_agreement"]
    assert agreement(*found.critics, draws) == pytest.approx(stored, abs=1e-6)
    for twin in found.critics:
        assert (twin.config.heads, twin.config.pessimism) == (2, 0.5)
        for _ in range(2):  # of whatever units Q was
            assert float(q_spread(twin, draws)) == pytest.approx(1, rel=1e-3)
            twin.scale.mul_(3)
            set_scale(twin, draws)


def test_a_probe_of_a_learned_critic(learned: Path, tmp_path: Path) -> None:
    """Whatever plays; with the twins, the oracle and the sentence in the file, on the terminal and on the page."""
    found = {}
    for name, changes in {"a": [], "b": ["workers=2", "batch=3"]}.items():
        found[name] = probe(settings(tmp_path / name, f"critic={learned}", *STEERED, "oracle=5", *changes))
    stored = [(tmp_path / name / PROBE).read_text() for name in found]
    assert stored[0] == stored[1]
    kept, made = json.loads(stored[0]), found["a"]
    assert made.twins is not None
    assert kept["sentence"] == made.sentence == sentence(made.twins.gains)
    assert [gain["strength"] for gain in kept["twins"]["gains"]["tried"]["qpilots_u"]] == [0, 1]
    zero = made.twins.gains.tried["qpilots_u"][0]
    assert (zero.own.value, zero.twin.value, zero.twin.interval) == (0, 0, (0, 0))
    assert -1 <= kept["twins"]["agreement"]["value"] <= 1
    assert made.oracle is not None
    assert kept["options"]["oracle"] == made.oracle.against_unsteered.pairs == 5
    assert probe_lines(made)[0] == made.sentence
    check_page(made)


def check_page(made: Probe) -> None:
    assert made.twins is not None
    page = html(made)
    headline = re.search(r"<h1>(.*)\.</h1>", page)
    assert headline is not None
    assert headline[1].lower().replace("&#39;", "'") == made.sentence.lower()
    assert page.count('class="plot"') == 1
    assert not re.search(r'(src|href)="(?!#)', page), "one file"
    choice = made.twins.gains.best_of_n.twin
    assert f"best_of_n {choice.value:.2f}" in page
    assert "exact look-ahead of 8" in page
    assert made.verdict in page


def test_the_oracle_solves_what_its_value_leads_to(learned: Path, tmp_path: Path) -> None:
    asked = settings(tmp_path, f"critic={learned}", "oracle=3")
    models = asked.build_models([BestOfN()])
    assert isinstance(models.critic, OutcomeCritic)
    value = state_value(asked, models)
    rng = np.random.default_rng(0)
    seen = {name: rng.normal(size=(11, size)) for name, size in models.critic.observation_sizes.items()}
    of_all = value(seen)
    with torch.no_grad():
        expected = models.critic.state_logits(models.critic.encode(seen, None)).mean(0)
    np.testing.assert_allclose(of_all, expected, rtol=1e-4)
    np.testing.assert_array_equal(value({name: values[:3] for name, values in seen.items()}), of_all[:3])
    found = probe(asked).oracle
    assert found is not None
    assert found.against_unsteered.pairs == 3
    assert found.simulated > found.steps > 0


def test_a_checkpoints_twins_are_fitted_to_given_rollouts(trained: Path, tmp_path: Path) -> None:
    mine = f"checkpoints={trained}/mine"
    found = probe(settings(tmp_path / "a", mine, f"data=[{rollouts(trained)}]"))
    assert found.twins is not None
    assert found.twins.episodes == 6
    assert found.twins.gains.peaks == {}
    without = probe(settings(tmp_path / "b", mine))
    assert without.twins is None
    assert without.sentence.startswith(f"{UNTOLD} whether to steer: no episodes are known that twins of critic critic")
    assert "give data=[FILE.hdf5]" in without.sentence
    assert without.auc == found.auc
    assert without.argmax == found.argmax
    assert 'class="plot"' not in html(without)
    with pytest.raises(RunError, match=r"rollouts_.*hdf5 is of policy \w+, and policy toy_models\.ToyDenoiser is"):
        probe(settings(tmp_path / "c", mine, f"data=[{rollouts(trained)}]", "policy.horizon=4", "policy.action_dim=2"))


def test_a_critic_of_ones_own_has_no_twins(tmp_path: Path, trained: Path) -> None:
    own = f"critic={HERE}/toy_models.py:ToyCritic"
    found = probe(settings(tmp_path, own))
    assert found.untold == (
        "critic toy_models.ToyCritic is none that sim-eval learn or sim-eval train fitted, so that it has no twins; "
        "give another critic"
    )
    assert probe_lines(found)[0] == f"{UNTOLD} whether to steer: {found.untold}"
    with pytest.raises(RunError, match=r"data is given, and critic .*ToyCritic is none that .*; accepted: data="):
        probe(settings(tmp_path / "b", own, f"data=[{rollouts(trained)}]"))
    with pytest.raises(RunError, match=r"oracle is 3, and critic .*ToyCritic has no value of states; accepted with it"):
        probe(settings(tmp_path / "c", own, "oracle=3"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("strengths_tried=[]", r"strengths_tried is \[\]; accepted: a list with at least one entry"),
        ("strengths_tried=[1,-1]", r"strengths_tried is \[1,-1\]; accepted: a finite number of at least 0"),
        ("oracle=-1", "oracle is -1; accepted: a whole number of at least 0"),
        ("oracle=13", "oracle is 13, and episodes is 12; accepted: a whole number from 0 to episodes"),
    ],
)
def test_a_bad_option_is_named(learned: Path, tmp_path: Path, argument: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        settings(tmp_path, f"critic={learned}", argument)


def test_bad_files_are_named_before_anything_is_played(learned: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"data names none\.hdf5, which is no file"):
        probe(settings(tmp_path, f"critic={learned}", "data=[none.hdf5]"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("critic.safetensors", "critic.json"):
        (copy / name).write_bytes((learned / name).read_bytes())
    asked = [f"critic={copy}", "episodes=4", "decisions=1"]
    assert probe(settings(tmp_path / "a", *asked)).twins is None
    with pytest.raises(RunError, match=r"options\.json is missing, so that it is not known how the critic was fitted"):
        probe(settings(tmp_path / "b", *asked, f"data=[{rollouts(trained)}]"))


def test_the_command_begins_with_the_sentence(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sim-eval", "probe", *PROBED, *STEERED, f"critic={learned}", f"output={tmp_path}"])
    with pytest.raises(SystemExit):
        cli.main()
    out, _ = capsys.readouterr()
    kept = json.loads((tmp_path / PROBE).read_text())
    assert out.splitlines()[0] == kept["sentence"]
    assert any(line.endswith(kept["verdict"]) for line in out.splitlines())
    assert out.splitlines()[-2:] == [str(tmp_path / PROBE), str(tmp_path / PAGE)]
    assert (tmp_path / PAGE).is_file()
