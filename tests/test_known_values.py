"""Critics of returns on a chain whose values are known in closed form.

A point walks along places 0 to 4; each step it moves on with probability `P`, else it stays. A step costs 1 until the
goal, place 4, whose reward is 0 and ends the return. So the return from d places before the goal is
-(1 - m^d) / (1 - gamma) with m = P gamma / (1 - (1 - P) gamma), the mean of gamma^steps for one place. As a share of
the range (-1 / (1 - gamma), 0) it is m^d. Episodes are cut after 9 steps, and go on at place 0 after the goal.
"""

from __future__ import annotations

import itertools
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from critics import bootstrapping
from critics.backup import Backup, range_of_returns
from critics.bootstrapping import Bootstrapping
from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import ImplicitQ, MonteCarloReturn, Sarsa, TemporalDifference
from critics.replay import Played, Replay, RewardedReplay, Rewards, build_replay
from sim_eval.training.fit import fit

GOAL, HORIZON, GAMMA, P = 4, 2, 0.8, 0.5
CHUNKS = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=HORIZON)))  # (4, 2); 1 moves on
DRAWS = 5
#: Of a share; the shares of neighbouring places differ by .07 to .35.
TOLERANCE = 0.03


def states(places: Tensor) -> Tensor:
    """One number of the observation a place."""
    return torch.nn.functional.one_hot(places, GOAL + 1).float()


@cache
def replay() -> Replay:
    return build_replay(episodes())


def episodes() -> list[Played]:
    """Walks with the rewards of the goal."""
    generator = torch.Generator().manual_seed(0)
    played = []
    for _ in range(400):
        place = int(torch.randint(GOAL, (1,), generator=generator))
        actions = (torch.rand(9, generator=generator) < P).float() * 2 - 1
        places = []
        for action in actions:
            places.append(place)
            place = 0 if place == GOAL else place + int(action > 0)
        at = torch.tensor(places)
        rewards, masks = (at == GOAL).float() - 1, (at != GOAL).float()
        chunks = torch.cat([actions, actions[-1:]]).unfold(0, HORIZON, 1)[:, :, None]
        played.append(Played(states(at), chunks, bool((at == GOAL).any()), Rewards(rewards, masks)))
    return played


def new_critic() -> EnsembleCritic:
    low, high = range_of_returns((-1.0, 0.0), GAMMA)
    sizes = {"place": GOAL + 1}
    torch.manual_seed(0)
    return EnsembleCritic(CriticConfig("test", sizes, 1, HORIZON, heads=2, width=32, depth=1, low=low, high=high))


def after(place: int, chunk: Tensor, values: list[float], goal: int) -> float:
    """The share that a chunk is worth, if the shares of places at its end are `values`."""
    for step in range(HORIZON):
        if place == goal:
            return GAMMA**step
        place += int(chunk[step] > 0)
    return GAMMA**HORIZON * values[place]


def solved(value: str, goal: int = GOAL) -> Tensor:
    """The exact shares of every place up to the goal and every chunk, (goal + 1, 4), by iterating the Bellman equation.

    `value` of a place: the "mean" over chunks, the mean of the "best" of `DRAWS` draws, or the "expectile" .8.
    """
    values = [0.0] * goal + [1.0]
    for _ in range(100):
        table = torch.tensor([[after(place, chunk, values, goal) for chunk in CHUNKS] for place in range(goal + 1)])
        if value == "mean":
            found = table.mean(1)
        elif value == "best":
            worth = table.sort(dim=1).values
            ranks = torch.arange(1, 5) / 4
            found = (worth * (ranks**DRAWS - (ranks - 0.25) ** DRAWS)).sum(1)
        else:
            found = table.mean(1)
            for _ in range(60):
                weights = torch.where(table > found[:, None], ImplicitQ.EXPECTILE, 1 - ImplicitQ.EXPECTILE)
                found = (weights * table).sum(1) / weights.sum(1)
        values = found.tolist()
    return table


def random_chunks(rows: Tensor, critic: EnsembleCritic, generator: torch.Generator, draws: int) -> Tensor:
    """What a policy draws that moves on with probability `P`."""
    return CHUNKS[torch.randint(len(CHUNKS), (len(rows), draws), generator=generator)][..., None]


def learned(objective: Bootstrapping) -> Tensor:
    """The critic's shares after training, as `solved`; of several tasks (tasks, GOAL + 1, 4)."""
    generator = torch.Generator().manual_seed(0)
    rows = objective.replay.learnable

    def loss() -> Tensor:
        return objective.loss(rows[torch.randint(len(rows), (128,), generator=generator)], generator).sum()

    fit(objective.module, loss, steps=600, learning_rate=1e-2, after_step=objective.after_step)
    places = torch.arange(GOAL + 1).repeat_interleave(len(CHUNKS))
    with torch.no_grad():
        logits = objective.critic.logits(CHUNKS.repeat(GOAL + 1, 1)[..., None], states(places))
    return logits.sigmoid().mean(-2).unflatten(-1, (GOAL + 1, -1))


def test_the_chain_has_the_closed_form() -> None:
    m = P * GAMMA / (1 - (1 - P) * GAMMA)
    expected = torch.tensor([m ** (GOAL - place) for place in range(GOAL + 1)])
    torch.testing.assert_close(solved("mean").mean(1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Sarsa, "mean"),
        (MonteCarloReturn, "mean"),
        (ImplicitQ, "expectile"),
        (partial(TemporalDifference, next_chunks=partial(random_chunks, draws=1), best=False), "mean"),
        (partial(TemporalDifference, next_chunks=partial(random_chunks, draws=DRAWS), best=True), "best"),
    ],
    ids=["sarsa", "monte_carlo_return", "iql", "td_policy", "td_best"],
)
def test_every_objective_learns_the_known_values(kind: type, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`td_best` is the return of the policy that executes the best of five draws."""
    monkeypatch.setattr(bootstrapping, "TARGET_RATE", 0.05)  # few updates
    found = learned(kind(new_critic(), replay(), backup=Backup(GAMMA)))
    assert (found - solved(value)).abs().max() < TOLERANCE


def test_the_best_of_several_draws_is_worth_more_than_one() -> None:
    """So that the test above can tell them apart."""
    assert (solved("best") - solved("mean")).max() > 2 * TOLERANCE


def test_a_time_limit_is_bootstrapped_past_and_the_goal_is_not() -> None:
    at = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    rewards, masks = (at == GOAL).float() - 1, (at != GOAL).float()
    chunks = torch.ones(7, HORIZON, 1)
    found = build_replay([Played(states(at), chunks, True, Rewards(rewards, masks))])
    assert isinstance(found, RewardedReplay)
    assert len(found) == 6  # the time limit cuts the chunk of the last row
    assert found.next_index.tolist() == [2, 3, 4, -1, -1, -1]
    assert found.ends_after.tolist() == [3, 3, 3, 2, 1, 3]
    assert found.learnable.tolist() == [0, 1, 2, 3, 4]  # of row 5 nothing follows
    returns = found.chunk_return(torch.arange(6), GAMMA)
    torch.testing.assert_close(returns, torch.tensor([-1 - GAMMA] * 3 + [-1.0, 0.0, -1 - GAMMA]))
    received, factor, ahead = found.to_go(GAMMA, torch.device("cpu"))(torch.arange(6))
    torch.testing.assert_close(received[:5], torch.tensor([-(1 - GAMMA**d) / (1 - GAMMA) for d in (4, 3, 2, 1, 0)]))
    assert factor is not None
    assert factor.tolist() == [0, 0, 0, 0, 0, 1]
    assert ahead[5] == 5


def test_a_return_that_a_time_limit_cuts_goes_on_with_the_value_there() -> None:
    """Rows 0 to 3, chunks of 2 steps: row 2 is the last whose chunk is whole."""
    played = Played(states(torch.zeros(4, dtype=torch.long)), torch.ones(4, HORIZON, 1), False)
    found = build_replay([played._replace(rewards=Rewards(torch.full((4,), -1.0), torch.ones(4)))])
    received, factor, ahead = found.to_go(GAMMA, torch.device("cpu"))(torch.arange(3))
    torch.testing.assert_close(received, torch.tensor([-1 - GAMMA, -1.0, 0.0]))
    torch.testing.assert_close(factor, torch.tensor([GAMMA**2, GAMMA, 1.0]))
    assert ahead.tolist() == [2, 2, 2]


def test_targets_are_as_pessimistic_as_asked() -> None:
    heads = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    torch.testing.assert_close(Backup(pessimism=0.5).join(heads), torch.tensor([1.5, 2.0]))
    torch.testing.assert_close(Backup().join(heads), torch.tensor([2.0, 2.0]))
