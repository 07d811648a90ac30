"""The outcome critic: a state value after learned dynamics, on a chain whose dynamics and values are known."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from critics.dynamics import ChunkDynamics, dynamics_loss, explained_change, set_change_scale
from critics.outcome import Outcome, OutcomeConfig, OutcomeCritic
from critics.replay import Replay, build_replay
from sim_eval.models.checkpoints import load_critic, save_checkpoint
from sim_eval.training.critic import fit_objective, new_critic
from tests.small_models import small_models

EXECUTE = 4


def walk(goes: float, length: int = 24) -> tuple[Tensor, Tensor, bool]:
    """A point that moves by `goes` a step, forwards to success or backwards to failure; chunks of 6 steps."""
    position = goes * torch.arange(float(length))
    seen = torch.stack([position, torch.zeros(length)], dim=1)
    return seen, torch.full((length, 6, 1), goes), goes > 0


@pytest.fixture
def replay() -> Replay:
    return build_replay([walk(goes) for goes in (0.1, -0.1, 0.05, -0.05, 0.08, -0.08, 0.06)] * 4)


def critic_for(heads: int = 2) -> OutcomeCritic:
    torch.manual_seed(0)
    config = OutcomeConfig("outcome", {"position": 1, "zero": 1}, 1, 6, execute=EXECUTE, heads=heads, width=32)
    return OutcomeCritic(config)


def test_a_cut_replay_ends_with_the_executed_steps() -> None:
    replay = build_replay([walk(0.1, length=6), walk(-0.1, length=3)]).cut(EXECUTE)
    assert replay.chunks.shape == (9, EXECUTE, 1)
    assert replay.next_index.tolist() == [4, 5, -1, -1, -1, -1, -1, -1, -1]
    assert replay.episode.tolist() == [0] * 6 + [1] * 3


def test_a_stride_leads_to_the_first_row_that_is_late_enough() -> None:
    seen, chunks, success = walk(0.1, length=10)
    replay = build_replay([(seen[::3], chunks, success)], stride=3)  # steps 0, 3, 6, 9
    assert replay.cut(4).next_index.tolist() == [2, 3, -1, -1]
    assert replay.cut(6).next_index.tolist() == [2, 3, -1, -1]
    assert replay.next_index.tolist() == replay.cut(6).next_index.tolist()


def test_it_learns_where_a_chunk_leads_and_what_that_is_worth(replay: Replay) -> None:
    critic = critic_for()
    objective = Outcome(critic, replay)
    figures = fit_objective(objective, replay.learnable, 1200, 64, torch.Generator().manual_seed(0), "")
    for position, goes in ((0.3, 0.1), (-0.3, -0.05)):
        after = critic.dynamics(torch.tensor([[position, 0.0]]), torch.full((1, EXECUTE, 1), goes))[0]
        torch.testing.assert_close(after, torch.tensor([position + EXECUTE * goes, 0.0]), atol=0.06, rtol=0)
    state = torch.zeros(1, 2)
    forwards, backwards = (critic.q(torch.full((1, 6, 1), goes), state).item() for goes in (0.1, -0.1))
    assert forwards > backwards + 1
    assert figures["dynamics_r2_1"] is not None
    assert figures["dynamics_r2_1"] > 0.95
    assert figures["dynamics_r2_4"] is not None
    assert figures["value_r2"] is not None
    assert figures["value_r2"] > 0.9
    assert figures["value_cross_entropy"] is not None
    assert figures["value_cross_entropy"] < 0.6


def test_what_f_misses_counts_by_what_v_makes_of_it(replay: Replay) -> None:
    critic, replay = critic_for(), replay.cut(EXECUTE)
    held_out = torch.ones(len(replay), dtype=torch.bool)

    def values(states: Tensor) -> Tensor:
        return states[:, :1].T  # one head, the first number of the state alone

    def exact(states: Tensor, actions: Tensor) -> Tensor:
        return states + actions.sum(1) * torch.tensor([1.0, 0.0])

    def blind(states: Tensor, actions: Tensor) -> Tensor:
        return states + EXECUTE * torch.tensor([0.0, 1.0])

    with patch.object(critic, "state_logits", values):
        with patch.object(critic.dynamics, "forward", exact):
            assert critic.explained_value(replay, held_out) == pytest.approx(1, abs=1e-3)
        with patch.object(critic.dynamics, "forward", blind):
            assert critic.explained_value(replay, held_out) == pytest.approx(0, abs=0.1)
        assert critic.explained_value(replay, ~held_out) is None


def test_only_executed_steps_count_and_the_gradient_reaches_them(replay: Replay) -> None:
    critic, state = critic_for(), torch.randn(3, 2)
    torch.nn.init.normal_(critic.network.output)
    chunks = torch.randn(3, 6, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(critic.q(chunks, state).sum(), chunks)
    assert (gradient[:, :EXECUTE] != 0).any(dim=1).all()
    assert (gradient[:, EXECUTE:] == 0).all()


def test_a_value_bootstraps_within_the_episode_alone(replay: Replay) -> None:
    objective = Outcome(critic_for(), replay)
    rows = torch.arange(len(replay))
    generator = torch.Generator().manual_seed(0)
    returns = replay.success * Outcome.DISCOUNT ** (replay.steps_left - 1)
    torch.testing.assert_close(objective.target(rows, generator), returns)  # at first the return alone
    objective._bootstraps.fill_(True)
    later = objective.target(rows, generator)
    short = replay.steps_left <= min(Outcome.AHEAD)
    torch.testing.assert_close(later[short], returns[short])
    assert (later[replay.steps_left > 16] != returns[replay.steps_left > 16]).any()
    # An untrained V is .5 everywhere, so no target is beyond the mixture of both.
    assert (later <= torch.maximum(returns, 0.3 * returns + 0.35) + 1e-6).all()


def test_chunks_that_pass_the_end_teach_no_dynamics() -> None:
    replay = build_replay([walk(0.1, length=3)] * 2).cut(EXECUTE)
    dynamics = ChunkDynamics(2, EXECUTE)
    assert dynamics_loss(dynamics, replay, torch.arange(6)).item() == 0
    assert explained_change(dynamics, replay, torch.ones(6, dtype=torch.bool), 1) is None
    longer = build_replay([walk(0.1)] * 2).cut(EXECUTE)
    set_change_scale(dynamics, longer)
    assert dynamics.change_std[1].item() == pytest.approx(1e-2)  # a number that never changes


def test_heads_see_other_episodes(replay: Replay) -> None:
    torch.manual_seed(0)
    objective = Outcome(critic_for(heads=4), replay)
    assert len({tuple(row.tolist()) for row in objective._draws}) == 4
    assert (objective._draws == 0).any()


def test_it_is_saved_and_read_as_it_was(tmp_path: Path) -> None:
    policy = small_models("flow").policy
    with torch.random.fork_rng():
        critic = new_critic("outcome", {"robot0_eef_pos": 3}, policy, heads=2)
    assert isinstance(critic, OutcomeCritic)
    torch.nn.init.normal_(critic.network.output)
    mean, deviation = policy.normalisation()
    card = {"kind": "critic", "task": "lift", "action_mean": mean.tolist(), "action_std": deviation.tolist()}
    save_checkpoint(tmp_path / "lift", "critic", critic, card)
    read = load_critic("lift", "critic", policy, tmp_path)
    chunks, state = torch.randn(4, policy.horizon, policy.action_dim), torch.randn(4, 3)
    torch.testing.assert_close(read.q(chunks, state), critic.q(chunks, state), atol=2e-2, rtol=2e-2)
