"""Critic targets and training objectives, on a chain whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import DISCOUNT, OBJECTIVES, ImplicitQ, Objective, chunk_reward
from critics.replay import Replay, build_replay
from sim_eval.training.critic import area_under_curve, score
from sim_eval.training.fit import fit

HORIZON = 2


def chain(length: int, action: float, success: bool) -> tuple[Tensor, Tensor, bool]:
    """An episode of `length` steps in which every chunk repeats one action; from the second state on, it shows."""
    time = torch.arange(float(length))
    return torch.stack([time, action * (time > 0)], dim=1), torch.full((length, HORIZON, 1), action), success


@pytest.fixture
def replay() -> Replay:
    """Action +1 always leads to success, -1 never."""
    return build_replay([chain(6, 1.0, True), chain(6, -1.0, False)] * 4)


def new_critic() -> EnsembleCritic:
    torch.manual_seed(0)
    return EnsembleCritic(
        CriticConfig("test", {"time": 1, "branch": 1}, action_dim=1, horizon=HORIZON, heads=2, width=32, depth=2)
    )


def test_replay_links_chunks_within_their_episode() -> None:
    replay = build_replay([chain(5, 1.0, True), chain(3, -1.0, False)])
    assert replay.next_index.tolist() == [2, 3, 4, -1, -1, 7, -1, -1]
    assert replay.steps_left.tolist() == [5, 4, 3, 2, 1, 3, 2, 1]
    assert replay.first.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert replay.success.tolist() == [1] * 5 + [0] * 3


def test_reward_falls_in_the_chunk_that_ends_in_success() -> None:
    replay = build_replay([chain(5, 1.0, True), chain(3, -1.0, False)])
    rewards = chunk_reward(replay, torch.arange(8), HORIZON)
    torch.testing.assert_close(rewards, torch.tensor([0.0, 0, 0, DISCOUNT, 1, 0, 0, 0]))


@pytest.mark.parametrize("method", OBJECTIVES)
def test_every_objective_learns_which_action_succeeds(method: str, replay: Replay) -> None:
    critic = new_critic()
    objective: Objective = OBJECTIVES[method](critic, replay)
    generator = torch.Generator().manual_seed(0)

    def loss() -> Tensor:
        return objective.loss(torch.randint(len(replay), (64,), generator=generator), generator)

    fit(objective.module, loss, steps=1000, learning_rate=3e-3, after_step=objective.after_step)
    start = torch.zeros(2, 2)
    chunks = torch.tensor([1.0, -1.0]).view(2, 1, 1).expand(2, HORIZON, 1)
    good, bad = critic.logits(chunks, start).sigmoid().mean(0).tolist()
    expected = 1.0 if method == "monte_carlo" else DISCOUNT**5  # success comes with the sixth step
    assert good == pytest.approx(expected, abs=0.1)
    assert bad < 0.1
    assert score(critic, replay)["auc"] == 1.0


def test_iql_keeps_its_target_network_behind(replay: Replay) -> None:
    objective = ImplicitQ(new_critic(), replay)
    for parameter in objective.critic.parameters():
        parameter.data.add_(1.0)
    before = [p.clone() for p in objective.target.parameters()]
    objective.after_step()
    moved = [(after - b).abs().max() for after, b in zip(objective.target.parameters(), before, strict=True)]
    assert all(0 < float(m) < 0.1 for m in moved)


def test_area_under_the_curve_by_hand() -> None:
    assert area_under_curve(np.array([3.0, 1.0]), np.array([2.0, 0.0])) == 0.75
    assert area_under_curve(np.array([1.0]), np.array([1.0])) == 0.5
    assert np.isnan(area_under_curve(np.array([]), np.array([1.0])))
