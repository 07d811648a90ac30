"""`posterior=flow`: draws through the frozen policy itself, without training, and what they cost."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.policy import Observations
from policies.posterior_flow import PosteriorFlow, posterior_flow
from sim_eval.commands import cli
from sim_eval.rollout.inference import Decider, PendingDecision
from sim_eval.rollout.keys import episode_keys
from sim_eval.runs.reader import load_provenance, read_run
from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from tests.toy_models import ToyCritic, ToyDenoiser

HERE = Path(__file__).parent


def test_draws_together_equal_draws_one_by_one() -> None:
    """Each row's own context is used, and gradients reach x."""
    denoiser, generator = ToyDenoiser(), torch.Generator().manual_seed(0)
    context = torch.randn((3, 2), generator=generator)
    z, x = torch.randn((5, 3, 4, 2), generator=generator), torch.randn((3, 4, 2), generator=generator)
    together, alone = (x.clone().requires_grad_() for _ in range(2))
    drawn = PosteriorFlow(denoiser, 4).draw(z, together, 0.4, x, context)
    expected = torch.stack([posterior_flow(denoiser, draw, alone, 0.4, context, 4) for draw in z])
    torch.testing.assert_close(drawn, expected)
    (gradient,) = torch.autograd.grad(drawn.square().sum(), together)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), alone)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-3)


def pending(episodes: int) -> list[PendingDecision]:
    positions = np.random.default_rng(0).uniform(-1, 1, (episodes, 2)).astype(np.float32)
    return [
        PendingDecision(key, 0, {"position": position})
        for key, position in zip(episode_keys("toy", 0, episodes), positions, strict=True)
    ]


def test_its_passes_count_as_rows_of_the_policy() -> None:
    """Nine of ten steps are steered: one pass for the posterior mean, then 3 draws of 5 passes each."""
    denoiser = ToyDenoiser()
    sampler, models = QPilotsM(strength=0.5, draws=3), Models(denoiser, ToyCritic(), PosteriorFlow(denoiser, 5))
    for decision in Decider(sampler, models, "qpilots_m").decide(pending(5)):
        assert decision.policy_rows == 10 + 9 * 3 * 5
        assert (decision.critic_rows, decision.posterior_rows) == (9 * 3, 0)


def test_a_decision_does_not_depend_on_the_batch() -> None:
    denoiser = ToyDenoiser()
    models = Models(denoiser, ToyCritic(), PosteriorFlow(denoiser, 5))
    decider = Decider(QPilotsM(strength=0.5, draws=3), models, "qpilots_m")
    together, alone = decider.decide(pending(11)), [decider.decide([waiting])[0] for waiting in pending(11)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


class CountingDenoiser(ToyDenoiser):
    """Counts its calls of `encode`."""

    encoded = 0

    def encode(self, observation: Observations) -> Tensor:
        self.encoded += 1
        return super().encode(observation)


@pytest.mark.parametrize(
    "sampler",
    [Unsteered(), BestOfN(n=3), ValueGuided(strength=0.3), QPilotsU(strength=0.3), QPilotsM(strength=0.3, draws=2)],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_decision_encodes_once(sampler: Sampler) -> None:
    """For the denoising, the posterior draws, the critic that reads features, and the Q that is recorded."""
    denoiser = CountingDenoiser()
    models = Models(denoiser, ToyCritic(uses_features=True), PosteriorFlow(denoiser, 2))
    decider = Decider(sampler, models, "tested")
    for number in (1, 2, 3):
        assert all(decision.q is not None for decision in decider.decide(pending(3)))
        assert denoiser.encoded == number


TOY = [f"task={HERE}/toy_task.py:ToyTask", "workers=0"]
POLICY = f"policy={HERE}/toy_models.py:ToyWithPictures"


def ended(monkeypatch: pytest.MonkeyPatch, command: str, *options: str) -> int:
    """The exit status of a command."""
    monkeypatch.setattr(sys, "argv", ["sim-eval", command, *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_features_and_flow_steer_a_policy_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From rollouts to a critic on features, strengths tuned with the flow, and a run that reads both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim_eval.training.critic.SPREAD_STATES", 40)
    recipe = ["rollouts=4", "critic_steps=20", "critic_methods=[monte_carlo]", "batch=32", "critic.inputs=features"]
    assert ended(monkeypatch, "train", *TOY, POLICY, "stage=rollouts,critic", *recipe, "checkpoints=mine") == 0
    steered = [*TOY, POLICY, "checkpoints=mine", "posterior=flow", "posterior.steps=5"]
    tuned = ["sampler=qpilots_m", "strengths=[0.2]", "episodes=2", "results=sweeps", "output=strengths.yaml"]
    assert ended(monkeypatch, "sweep", *steered, *tuned) == 0
    samplers = ["samplers=[unsteered,qpilots_m]", "strengths=strengths.yaml", "episodes=3", "output=run"]
    assert ended(monkeypatch, "evaluate", *steered, *samplers) == 0
    run = read_run(Path("run"))
    assert run.config["posterior_options"] == {"steps": 5}
    assert set(load_provenance(Path("run"))[0]["checkpoints"]) >= {"policy", "critic", "posterior"}
    for record in run.records:
        assert record.error is None
        assert record.mean_q is not None
        rows = 10 + 9 * 8 * 5 if record.sampler == "qpilots_m" else 10
        assert (record.cost.policy_rows, record.cost.posterior_rows) == (rows * record.decisions, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["posterior=flow", "posterior.steps=0"], "posterior=flow: steps is 0; accepted: a whole number of at least 1"),
        ([], "holds no posterior net of policy toy_models.ToyWithPictures; accepted: posterior=flow"),
        (["posterior=flow", f"policy={HERE}/toy_models.py:ToyPolicy"], "qpilots_m needs a Denoiser, and policy"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "sweep"])
def test_what_cannot_be_steered_is_refused_in_one_line(
    command: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [*TOY, POLICY, f"critic={HERE}/toy_models.py:ToyCritic", "samplers=[qpilots_m]", "episodes=1", *options]
    strength = ["strengths=[0.2]"] if command == "sweep" else ["sampler.qpilots_m.strength=0.2"]
    assert ended(monkeypatch, command, *asked, *strength) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
