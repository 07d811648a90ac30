"""Critics of several tasks as one module: each learns what it learns alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from critics import bootstrapping
from critics.backup import Backup
from critics.bootstrapping import Bootstrapping
from critics.ensemble import CriticConfig, EnsembleCritic
from critics.growing_replay import GrowingReplay
from critics.objectives import ImplicitQ, Sarsa, TemporalDifference
from critics.outcome import OutcomeConfig, OutcomeCritic
from critics.replay import Played, Replay, RewardedReplay, Rewards, build_replay
from critics.stacked import StackedCritic, clip_each
from sim_eval.training.going_on import GoingOn
from sim_eval.training.workspace import seeded_weights
from tests import test_known_values as chain
from tests.test_known_values import GAMMA, GOAL, HORIZON

STATES, LENGTH, UPDATES = 3, 30, 50


def td_chunks(rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
    """Two draws at each row, the same for all tasks."""
    return torch.stack([torch.sin(rows + draw)[:, None, None].expand(-1, HORIZON, 1) for draw in (0.0, 1.0)], dim=1)


OBJECTIVES: dict[str, Callable[..., Bootstrapping]] = {
    "sarsa": Sarsa,
    "iql": ImplicitQ,
    "td": partial(TemporalDifference, next_chunks=td_chunks, best=True),
}


def episodes(tasks: slice | int) -> list[Played]:
    """Random episodes with the rewards of some of three tasks. No goal is near an episode's end."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(6):
        seen = torch.randn(LENGTH, STATES, generator=generator)
        chunks = torch.randn(LENGTH, HORIZON, 1, generator=generator)
        goals = torch.rand(3, LENGTH, generator=generator) < torch.tensor([[0.05], [0.1], [0.3]])
        goals[:, -2 * HORIZON :] = False
        found.append(Played(seen, chunks, False, Rewards(goals[tasks].float() - 1, 1 - goals[tasks].float())))
    return found


def new_critic(everywhere: bool = False, of_states: bool = False) -> EnsembleCritic:
    size: dict[str, Any] = {"heads": 2, "width": 8, "depth": 2, "actions_everywhere": everywhere}
    fields = {**size, "low": -5.0, "high": 0.0}
    with seeded_weights(0):
        if of_states:
            return OutcomeCritic(OutcomeConfig("test", {"x": STATES}, 1, HORIZON, execute=HORIZON, **fields))
        return EnsembleCritic(CriticConfig("test", {"x": STATES}, 1, HORIZON, **fields))


def trained(kind: Callable[..., Bootstrapping], critic: EnsembleCritic, replay: Replay) -> GoingOn:
    with seeded_weights(3):
        objective = kind(critic, replay, backup=Backup(GAMMA, 0.5))
    training = GoingOn(objective, rows=32, seed=0)
    training.run(UPDATES, lambda: None, UPDATES, "test")
    return training


@pytest.mark.parametrize(("name", "everywhere"), [*((name, False) for name in OBJECTIVES), ("td", True)])
def test_each_task_learns_what_it_learns_alone(name: str, everywhere: bool) -> None:
    """From the same rows, with the same seed, up to rounding; its loss, too, and its gradient is clipped alone."""
    kind, found = OBJECTIVES[name], new_critic(everywhere)
    together = trained(kind, StackedCritic(found, 3), build_replay(episodes(slice(None))))
    distances = []
    for task in range(3):
        alone = trained(kind, new_critic(everywhere), build_replay(episodes(task)))
        assert isinstance(together.objective.target, StackedCritic)
        together.objective.target.copy_to(found, task)
        for parameter, value in alone.objective.target.state_dict().items():
            torch.testing.assert_close(found.state_dict()[parameter], value, atol=1e-5, rtol=0)
        assert together.losses[task] == pytest.approx(alone.losses[0], abs=1e-5)
        distances.append(alone.objective.critic.network.output.detach())
    assert (distances[0] - distances[2]).abs().max() > 1e-3, "so that the tasks differ"


def test_the_gradients_of_one_task_do_not_shrink_anothers() -> None:
    critic = StackedCritic(new_critic(), 2)
    weight = critic.network.stacked["output"]
    weight.grad = torch.stack([torch.full_like(weight[0], 100.0), torch.full_like(weight[1], 1e-3)])
    small = weight.grad[1].norm()
    clip_each([weight], 1.0)
    torch.testing.assert_close(weight.grad.flatten(1).norm(dim=1), torch.stack([torch.tensor(1.0), small]))


def of_masks(masks: Tensor) -> RewardedReplay:
    """The replay of one episode with these masks."""
    length = masks.shape[-1]
    chunks = torch.ones(length, HORIZON, 1)
    replay = build_replay([Played(torch.zeros(length, 1), chunks, True, Rewards(masks - 1, masks))])
    assert isinstance(replay, RewardedReplay)
    return replay


def test_an_episode_that_ends_at_one_tasks_goal_is_cut_by_time_for_the_others() -> None:
    """The first task's goal is the last row; the second passes its own in row 1."""
    masks = torch.ones(2, 5)
    masks[0, -1] = masks[1, 1] = 0
    replay = of_masks(masks)
    rows = replay.learnable
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert replay.goes_on(rows).int().tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert replay.mean(torch.arange(5.0).expand(2, 5), rows).tolist() == [2.0, 0.5], "the second knows rows 0 and 1"


def test_each_task_knows_the_rows_that_it_knows_alone() -> None:
    masks = (torch.rand(3, 40, generator=torch.Generator().manual_seed(0)) < 0.9).float()
    masks[:, -1] = torch.tensor([0.0, 1.0, 1.0])
    replay = of_masks(masks)
    for task, own in enumerate(masks):
        alone = of_masks(own)
        ones = torch.ones(len(masks), 1)
        known = [bool(replay.mean(ones, torch.tensor([row]))[task]) for row in range(len(replay))]
        steps = replay.step[torch.tensor(known)]
        assert steps.tolist() == alone.step[alone.learnable].tolist()


def test_rounds_are_appended_as_if_all_were_there_at_once() -> None:
    played, growing = episodes(slice(None)), GrowingReplay()
    for part in (played[:2], played[2:3], played[3:]):
        growing.append(build_replay(part), len(part))
    for name, values in build_replay(played).tensors().items():
        torch.testing.assert_close(growing.whole.tensors()[name], values)


def test_the_known_values_of_two_goals_are_learned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the chain: the goal at its end, and one in the midst of episodes. Their exact shares differ by far."""
    monkeypatch.setattr(bootstrapping, "TARGET_RATE", 0.05)  # few updates
    goals = (GOAL, 2)
    played = []
    for episode in chain.episodes():
        at = episode.observations.argmax(1)
        reached = torch.stack([at == goal for goal in goals]).float()
        played.append(episode._replace(rewards=Rewards(reached - 1, 1 - reached)))
    critic = StackedCritic(chain.new_critic(), len(goals))
    objective = Sarsa(critic, build_replay(played), Backup(GAMMA))
    found = chain.learned(objective)
    for task, goal in enumerate(goals):
        exact = chain.solved("mean", goal)
        assert (found[task, : goal + 1] - exact).abs().max() < chain.TOLERANCE
