"""Critic targets and training objectives, on a chain whose values are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from critics import bootstrapping
from critics.backup import OWN
from critics.bootstrapping import Objective
from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import OBJECTIVES, ImplicitQ, MonteCarloReturn, Sarsa
from critics.outcome import OutcomeConfig, OutcomeCritic
from critics.replay import Replay, build_replay
from sim_eval.training.critic import score
from sim_eval.training.fit import fit

HORIZON = 2
DISCOUNT = Sarsa.DISCOUNT


def chain(length: int, action: float, success: bool) -> tuple[Tensor, Tensor, bool]:
    """An episode of `length` steps in which every chunk repeats one action; from the second state on, it shows."""
    time = torch.arange(float(length))
    return torch.stack([time, action * (time > 0)], dim=1), torch.full((length, HORIZON, 1), action), success


@pytest.fixture
def replay() -> Replay:
    """Action +1 always leads to success, -1 never."""
    return build_replay([chain(6, 1.0, True), chain(6, -1.0, False)] * 4)


def new_critic(method: str = "test") -> EnsembleCritic:
    torch.manual_seed(0)
    if method in ("outcome", "ivl"):
        sizes = {"time": 1, "branch": 1}
        return OutcomeCritic(OutcomeConfig(method, sizes, action_dim=1, horizon=HORIZON, execute=HORIZON, heads=2))
    return EnsembleCritic(
        CriticConfig("test", {"time": 1, "branch": 1}, action_dim=1, horizon=HORIZON, heads=2, width=32, depth=2)
    )


def test_replay_links_chunks_within_their_episode() -> None:
    replay = build_replay([chain(5, 1.0, True), chain(3, -1.0, False)])
    assert replay.next_index.tolist() == [2, 3, 4, -1, -1, 7, -1, -1]
    assert replay.steps_left.tolist() == [5, 4, 3, 2, 1, 3, 2, 1]
    assert replay.step.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert replay.success.tolist() == [1] * 5 + [0] * 3


def test_reward_falls_in_the_chunk_that_ends_in_success() -> None:
    replay = build_replay([chain(5, 1.0, True), chain(3, -1.0, False)])
    rewards = replay.chunk_return(torch.arange(8), DISCOUNT)
    torch.testing.assert_close(rewards, torch.tensor([0.0, 0, 0, DISCOUNT, 1, 0, 0, 0]))


@pytest.mark.parametrize("method", OBJECTIVES)
def test_every_objective_learns_which_action_succeeds(method: str, replay: Replay) -> None:
    critic = new_critic(method)
    objective: Objective = OBJECTIVES[method](critic, replay, OWN)
    generator = torch.Generator().manual_seed(0)

    def loss() -> Tensor:
        return objective.loss(torch.randint(len(replay), (64,), generator=generator), generator)

    fit(objective.module, loss, steps=1000, learning_rate=3e-3, after_step=objective.after_step)
    objective.finish()
    start = torch.zeros(2, 2)
    chunks = torch.tensor([1.0, -1.0]).view(2, 1, 1).expand(2, HORIZON, 1)
    good, bad = critic.logits(chunks, start).sigmoid().mean(0).tolist()
    discount = {"monte_carlo": 1.0, "monte_carlo_return": MonteCarloReturn.DISCOUNT, "outcome": 0.99}.get(
        method, DISCOUNT
    )
    expected = discount**5  # success comes with the sixth step
    assert good == pytest.approx(expected, abs=0.1)
    assert bad < 0.1
    assert score(critic, replay)["auc"] == 1.0


def test_q_is_in_units_of_its_scale() -> None:
    critic = new_critic()
    chunks, features = torch.randn(3, HORIZON, 1), torch.randn(3, 2)
    plain = critic.q(chunks, features)
    torch.testing.assert_close(plain, critic.logits(chunks, features).mean(0))
    critic.scale.fill_(4.0)
    torch.testing.assert_close(critic.q(chunks, features), plain / 4)


def targets(objective: Objective, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What the critic is taught for every row."""
    seen: list[Tensor] = []

    def loss(logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        seen.append(target)
        return logits * 0 if reduction == "none" else logits.sum() * 0

    with monkeypatch.context() as patched:
        patched.setattr(bootstrapping.F, "binary_cross_entropy_with_logits", loss)
        objective.loss(torch.arange(len(replay)), torch.Generator().manual_seed(0))
    assert all(torch.equal(of_head, seen[0][0]) for of_head in seen[0])
    return seen[0][0]


def test_targets_discount_a_chunk_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    replay = build_replay([chain(5, 1.0, True), chain(3, -1.0, False)])
    following = torch.tensor([2, 3, 4, -1, -1, 7, -1, -1])
    ended = torch.tensor([0.0, 0, 0, DISCOUNT, 1, 0, 0, 0])
    sarsa, iql = (OBJECTIVES[name](new_critic(), replay, OWN) for name in ("sarsa", "iql"))
    assert isinstance(sarsa, Sarsa)
    assert isinstance(iql, ImplicitQ)
    sarsa_values = sarsa.target.logits(replay.chunks, replay.observations).sigmoid().mean(0)
    iql_values = iql.state_value(replay.observations)[0].sigmoid()
    for objective, values in ((sarsa, sarsa_values), (iql, iql_values)):
        expected = ended + DISCOUNT**HORIZON * torch.where(following >= 0, values[following], 0.0)
        torch.testing.assert_close(targets(objective, replay, monkeypatch), expected.detach())


def test_iqls_value_is_an_expectile_of_the_targets_least_head() -> None:
    """Two chunks of one state, worth 0.2 and 0.8 by the target's worse head: their 0.8-expectile is 0.68."""
    replay = build_replay([(torch.zeros(1, 2), torch.full((1, HORIZON, 1), a), True) for a in (0.0, 1.0)])
    objective = ImplicitQ(new_critic(), replay)
    worse = torch.tensor([0.2, 0.8]).logit()
    objective.target.logits = lambda *_: torch.stack([worse, worse + 1.0])  # type: ignore[method-assign]
    optimiser = torch.optim.Adam(objective.state_value.parameters(), lr=1e-2)
    for _ in range(600):
        optimiser.zero_grad()
        objective.loss(torch.arange(2), torch.Generator().manual_seed(0)).backward()
        optimiser.step()
    value = objective.state_value(torch.zeros(1, 2))[0].sigmoid().item()
    assert value == pytest.approx(0.8 * 0.8 + 0.2 * 0.2, abs=0.01)


def test_fit_leaves_the_averaged_weights() -> None:
    """Of a single weight that jumps between two minima, every other step each."""
    module, seen = torch.nn.Linear(1, 1, bias=False), []

    def loss() -> Tensor:
        seen.append(module.weight.item())
        return (module.weight - (1.0 if len(seen) % 2 else -1.0)).square().sum()

    fit(module, loss, steps=200, learning_rate=0.5)
    late = seen[100:]
    assert max(late) - min(late) > 4 * abs(module.weight.item() - sum(late) / len(late))
    assert module.weight.item() not in seen
    assert not module.weight.requires_grad


def test_iql_keeps_its_target_network_behind(replay: Replay) -> None:
    objective = ImplicitQ(new_critic(), replay)
    for parameter in objective.critic.parameters():
        parameter.data.add_(1.0)
    before = [p.clone() for p in objective.target.parameters()]
    objective.after_step()
    moved = [(after - b).abs().max() for after, b in zip(objective.target.parameters(), before, strict=True)]
    assert all(0 < float(m) < 0.1 for m in moved)


def test_pessimism_subtracts_the_spread_of_the_heads() -> None:
    config = CriticConfig("sarsa", {"time": 1}, action_dim=1, horizon=HORIZON, heads=5, width=16, depth=2)
    torch.manual_seed(0)
    neutral = EnsembleCritic(config)
    wary = EnsembleCritic(replace(config, pessimism=0.5))
    wary.load_state_dict(neutral.state_dict())
    chunks, encoded = torch.randn(6, HORIZON, 1), torch.randn(6, 1)
    logits = neutral.logits(chunks, encoded)
    torch.testing.assert_close(neutral.q(chunks, encoded), logits.mean(0))
    torch.testing.assert_close(wary.q(chunks, encoded), logits.mean(0) - 0.5 * logits.std(0, correction=0))


def test_pessimism_has_a_gradient_where_the_heads_agree() -> None:
    config = CriticConfig("sarsa", {"time": 1}, 1, HORIZON, heads=1, width=16, depth=2, pessimism=0.5)
    chunks = torch.randn(6, HORIZON, 1, requires_grad=True)
    EnsembleCritic(config).q(chunks, torch.randn(6, 1)).sum().backward()
    assert chunks.grad is not None
    assert torch.isfinite(chunks.grad).all()
