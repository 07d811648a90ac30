"""Learned dynamics of a chunk: the state after it has been executed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.network import EnsembleLinear, EnsembleTrunk, Pullback
from critics.replay import Replay


class ChunkDynamics(EnsembleTrunk):
    """f(s, a): the normalised state (B, n) at the end of the executed steps (B, h, D) of a chunk.

    It predicts the change of the state, in units of `change_std`, the change's deviation in the data: a linear map plus
    the mean of `heads` MLPs. Every control step of every episode teaches it, whatever the episode's outcome.
    """

    change_std: Tensor

    def __init__(self, states: int, entries: int, heads: int = 2, width: int = 192, depth: int = 2) -> None:
        super().__init__(heads, states + entries, width, depth)
        self.linear = nn.Linear(states + entries, states)
        self.output = EnsembleLinear(heads, width, states)
        self.register_buffer("change_std", torch.ones(states))

    def changes(self, states: Tensor, actions: Tensor) -> Tensor:
        """Each head's change of the state, in units of `change_std`: (E, B, n)."""
        inputs = torch.cat([states, actions.flatten(1)], dim=1)
        changes: Tensor = self.output(self.hidden(inputs)) + self.linear(inputs)
        return changes

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Normalised states (B, n) and executed actions (B, h, D) to the states after them, (B, n)."""
        return states + self.change_std * self.changes(states, actions).mean(0)

    def with_pullback(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Pullback]:
        """As `forward`, and what maps a gradient in the result to that in the actions."""
        inputs = torch.cat([states, actions.flatten(1)], dim=1)
        h, hidden_pullback = self.hidden_with_pullback(inputs)
        changes = self.output(h) + self.linear(inputs)

        def pullback(gradient: Tensor) -> Tensor:
            of_changes = (gradient * self.change_std).expand_as(changes) / self.heads
            of_hidden = torch.bmm(of_changes, self.output.weight.transpose(1, 2))
            of_inputs = hidden_pullback(of_hidden) + of_changes.sum(0).mm(self.linear.weight)
            return of_inputs[:, states.shape[1] :].view_as(actions)

        return states + self.change_std * changes.mean(0), pullback


def set_change_scale(dynamics: ChunkDynamics, replay: Replay) -> None:
    """Measure `change_std` on the replay's transitions."""
    rows = (replay.next_index >= 0).nonzero()[:, 0]
    change = replay.observations[replay.next_index[rows]] - replay.observations[rows]
    dynamics.change_std.copy_(change.std(0).clamp_min(1e-2))


def dynamics_loss(
    dynamics: ChunkDynamics,
    replay: Replay,
    rows: Tensor,
    learnt: Tensor | None = None,
    following: Tensor | None = None,
) -> Tensor:
    """Smooth L1 of every head's change, in units of `change_std`; 0 for rows (B,) whose chunk passes the end.

    learnt: (B,) bool, which of the rows count; None: all. following: (B,), the row at each chunk's end, -1 if that is
    unknown; None: the replay's `next_index`.
    """
    following = replay.next_index[rows] if following is None else following
    known = following >= 0 if learnt is None else (following >= 0) & learnt
    states = replay.observations[rows]
    change = (replay.observations[following.clamp_min(0)] - states) / dynamics.change_std
    changes = dynamics.changes(states, replay.chunks[rows])
    errors = F.smooth_l1_loss(changes, change.expand_as(changes), beta=0.5, reduction="none")
    return (errors.mean((0, 2)) * known).sum() / known.sum().clamp_min(1)


def held_out_of_dynamics(episode: Tensor) -> Tensor:
    """Rows that f is scored on and not taught, (N,) bool: every tenth episode's. `episode`: its number, (N,)."""
    return episode % 10 == 9


def explained_changes(dynamics: ChunkDynamics, replay: Replay, held_out: Tensor) -> dict[str, float | None]:
    """The figures of f for a critic's card: `explained_change` over 1, 2 and 4 chunks."""
    return {f"dynamics_r2_{chunks}": explained_change(dynamics, replay, held_out, chunks) for chunks in (1, 2, 4)}


@torch.no_grad()
def explained_change(dynamics: ChunkDynamics, replay: Replay, held_out: Tensor, chunks: int) -> float | None:
    """R^2 of the change over `chunks` chunks, by predicting from prediction, on the rows `held_out`, (N,) bool.

    The share of the change's variance that is predicted, over all numbers of the state in units of `change_std`; None
    if no episode is that long.
    """
    rows = held_out.nonzero()[:, 0]
    ahead = rows
    for _ in range(chunks):
        known = replay.next_index[ahead] >= 0
        rows, ahead = rows[known], replay.next_index[ahead[known]]
    if not len(rows):
        return None
    start, at = replay.observations[rows], rows
    predicted = start
    for _ in range(chunks):
        predicted = dynamics(predicted, replay.chunks[at])
        at = replay.next_index[at]
    change = (replay.observations[at] - start) / dynamics.change_std
    error = (predicted - replay.observations[at]) / dynamics.change_std
    return float(1 - error.square().sum() / (change - change.mean(0)).square().sum())
