"""Implicit value learning, on the chain whose values are known, and on episodes small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from critics import bootstrapping
from critics.backup import Backup, range_of_returns
from critics.implicit_value import ImplicitValue
from critics.outcome import OutcomeConfig, OutcomeCritic
from critics.replay import Played, Replay, Rewards, build_replay
from critics.stacked import StackedOutcomeCritic, stacked
from tests import test_known_values as chain
from tests.test_known_values import CHUNKS, GAMMA, GOAL, HORIZON, states


def new_critic() -> OutcomeCritic:
    low, high = range_of_returns((-1.0, 0.0), GAMMA)
    torch.manual_seed(0)
    place = {"place": GOAL + 1}
    config = OutcomeConfig("ivl", place, 1, HORIZON, heads=2, width=32, depth=1, low=low, high=high, execute=HORIZON)
    return OutcomeCritic(config)


def values_of(goal: int = GOAL) -> Tensor:
    """The exact shares of the places up to the goal: the expectile over chunks of what each is worth."""
    table = chain.solved("expectile", goal)
    found = table.mean(1)
    for _ in range(60):
        weights = torch.where(table > found[:, None], ImplicitValue.EXPECTILE, 1 - ImplicitValue.EXPECTILE)
        found = (weights * table).sum(1) / weights.sum(1)
    return found


def learned(critic: OutcomeCritic, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The shares of all places, (..., GOAL + 1), with targets one chunk ahead."""
    monkeypatch.setattr(bootstrapping, "TARGET_RATE", 0.05)  # few updates
    monkeypatch.setattr(ImplicitValue, "AHEAD", (HORIZON,))
    monkeypatch.setattr(ImplicitValue, "STATE_NOISE", 0.0)
    chain.learned(ImplicitValue(critic, replay, Backup(GAMMA)))
    with torch.no_grad():
        return critic.state_logits(states(torch.arange(GOAL + 1))).sigmoid().mean(-2)


def test_values_of_states_are_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = new_critic()
    found = learned(critic, chain.replay(), monkeypatch)
    assert (found - values_of()).abs().max() < chain.TOLERANCE

    places = torch.arange(GOAL).repeat_interleave(len(CHUNKS))
    chunks = CHUNKS.repeat(GOAL, 1)
    after = places + (chunks > 0).sum(1)
    before_the_end = places + (chunks[:, :-1] > 0).sum(1) < GOAL
    with torch.no_grad():
        q = critic.logits(chunks[..., None], states(places)).sigmoid().mean(0)
    error = (q - found[after.clamp_max(GOAL)]).abs()[before_the_end]
    assert error.max() < chain.TOLERANCE, "Q(s, a) is the value of the place to which the chunk leads"


def test_the_values_of_two_goals_are_learned_with_one_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    goals, played = (GOAL, 2), []
    for episode in chain.episodes():
        reached = torch.stack([episode.observations.argmax(1) == goal for goal in goals]).float()
        played.append(episode._replace(rewards=Rewards(reached - 1, 1 - reached)))
    stack = stacked(new_critic(), len(goals))
    assert isinstance(stack, StackedOutcomeCritic)
    found = learned(stack, build_replay(played), monkeypatch)
    for task, goal in enumerate(goals):
        assert (found[task, : goal + 1] - values_of(goal)).abs().max() < chain.TOLERANCE

    own = new_critic()
    chunks, places = CHUNKS[..., None], states(torch.tensor([0, 1, 2, 3]))
    together = stack.logits(chunks, places)
    for task in range(len(goals)):
        stack.copy_to(own, task)
        torch.testing.assert_close(own.logits(chunks, places), together[task])


def objective_of(rewards: Tensor, masks: Tensor, ahead: int, monkeypatch: pytest.MonkeyPatch) -> ImplicitValue:
    """Of one episode, with targets up to `ahead` control steps later."""
    monkeypatch.setattr(ImplicitValue, "AHEAD", (ahead,))
    length = rewards.shape[-1]
    chunks = torch.ones(length, HORIZON, 1)
    played = Played(states(torch.arange(length) % GOAL), chunks, True, Rewards(rewards, masks))
    critic = new_critic() if rewards.ndim == 1 else stacked(new_critic(), len(rewards))
    return ImplicitValue(critic, build_replay([played]), Backup(GAMMA))


def target(objective: ImplicitValue, row: int) -> Tensor:
    return objective._target(torch.tensor([row]), torch.Generator().manual_seed(0))[..., 0]


def costs(steps: int) -> float:
    """The discounted reward of so many steps of -1."""
    return -(1 - GAMMA**steps) / (1 - GAMMA)


def test_targets_reach_several_chunks_ahead_and_no_further_than_the_goal_or_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight steps, and a goal in the last or none; the value of any state is the first one's."""
    rewards, cut = torch.full((8,), -1.0), torch.ones(8)
    of_state = new_critic().returns(torch.tensor(ImplicitValue.FIRST_LOGIT).sigmoid())
    goes_on = objective_of(rewards, cut, 4, monkeypatch)
    torch.testing.assert_close(target(goes_on, 0), costs(4) + GAMMA**4 * of_state)
    torch.testing.assert_close(target(goes_on, 4), costs(2) + GAMMA**2 * of_state, msg="the limit cuts the last chunk")

    goal = torch.cat([rewards[:-1], torch.zeros(1)])
    ends = objective_of(goal, goal.ne(0).float(), 4, monkeypatch)
    torch.testing.assert_close(target(ends, 4), torch.tensor(costs(3)))
    torch.testing.assert_close(target(ends, 7), torch.tensor(0.0))

    both = objective_of(torch.stack([goal, rewards]), torch.stack([goal.ne(0).float(), cut]), 4, monkeypatch)
    torch.testing.assert_close(target(both, 4), torch.stack([torch.tensor(costs(3)), costs(2) + GAMMA**2 * of_state]))


def test_dynamics_learn_what_follows_the_goal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play goes on after the goal, which ends the return alone."""
    rewards = torch.tensor([-1.0, 0, -1, -1, -1, -1, -1])
    objective = objective_of(rewards, rewards.ne(0).float(), 4, monkeypatch)
    assert objective.replay.next_index.tolist()[:3] == [-1, -1, 4]
    assert objective._found.following.tolist() == [2, 3, 4, 5, -1, -1]
