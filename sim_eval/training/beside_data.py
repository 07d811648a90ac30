"""Offline to online: a critic learns from recorded data, then from these and the episodes that it steers, alike.

After the protocol of Ruan et al. 2026 (arXiv 2606.14801) on OGBench: the policy stays frozen, and mini-batches are
uniform over the data and all episodes so far. Its updates come in rounds here: some after each round of episodes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critics.ensemble import EnsembleCritic
from critics.growing_replay import GrowingRows
from critics.objectives import OBJECTIVES, Bootstrapping, TemporalDifference
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import written
from sim_eval.training.draws import draws_everywhere
from sim_eval.training.going_on import GoingOn
from sim_eval.training.learner import Figures, Learner
from sim_eval.training.names import BEST, PLAY, STEERED, TD
from sim_eval.training.online_fit import fit_seed
from sim_eval.training.play_files import read_play
from sim_eval.training.trajectories import Trajectory, read_hdf5
from sim_eval.training.workspace import seeded_weights

#: Updates between two states that an interrupted fit goes on from.
SAVE_EVERY = 2000

#: The part of a fit's seed that the policy's draws have, as in `fit_seed`.
_DRAWS = 3


@dataclass
class BesideData(Learner):
    """`offline` updates on the data, then `updates` after each round; what steers are the averaged weights."""

    #: (steps, K, h, D), the frozen policy's, if used; on the critic's device, as `starts` is.
    drawn: Tensor = field(default_factory=lambda: torch.zeros(0))
    rows_drawn: GrowingRows = field(default_factory=GrowingRows)  # which holds `drawn`
    #: The control steps before each episode, and before the next: (episodes + 1,).
    starts: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.long))

    def _warn(self) -> None:
        """Data may hold any share of successes."""

    def _begin(self) -> None:
        settings, vectors = self.settings, tuple(self.fitting.sizes)
        if settings.method == TD and (lacking := set(self.frozen.policy.request.names) - set(vectors)):
            raise RunError(
                f"method is {TD}, for which the policy draws at recorded states, and they lack "
                f"{', '.join(sorted(lacking))}; accepted: a policy that observes {', '.join(vectors)}, or method=sarsa"
            )
        recorded: list[Trajectory] = []
        for path in settings.data:
            of_play = path.suffix == PLAY
            recorded += read_play(path, settings.task) if of_play else read_hdf5(path, vectors, settings.task_name)
        policy, first = self.frozen.policy, recorded[0]
        sizes = {name: values.shape[1] for name, values in first.observations.items()}
        if sizes != dict(self.fitting.sizes) or first.actions.shape[1] != policy.action_dim:
            raise RunError(
                f"data holds vectors of sizes {sizes} and actions of {first.actions.shape[1]} entries; accepted for "
                f"task {settings.task_name}: {dict(self.fitting.sizes)} and {policy.action_dim}"
            )
        self.folder.begin()
        self._start_from(recorded)

    def _add(self, number: int, trajectories: list[Trajectory]) -> None:
        super()._add(number, trajectories)
        device = self.fitting.device
        lengths = torch.tensor([len(trajectory.actions) for trajectory in trajectories])
        starts = self.starts.to(device)
        self.starts = torch.cat([starts, starts[-1] + lengths.cumsum(0).to(device)])
        if self.settings.method == TD and self.settings.bootstrap != STEERED:
            self.drawn = self.rows_drawn.append(self._draws_of(number, trajectories).to(device))

    def _draws_of(self, number: int, trajectories: list[Trajectory]) -> Tensor:
        """The policy's draws at every step of a round, made once for all runs in this folder."""
        path = self.folder.draws(number)
        if not path.is_file():
            generator = torch.Generator().manual_seed(fit_seed(self.settings.seed, number, _DRAWS))
            name = f"draws of round {number}"
            drawn = draws_everywhere(self.frozen.policy, trajectories, self.settings.draws, generator, name)
            with written(path) as part:
                np.save(part, drawn.numpy())
        return torch.from_numpy(np.load(path))

    def _fit(self, number: int, before: EnsembleCritic | None) -> None:
        settings, training = self.settings, self.training
        training.see(self.replay.whole)
        training.objective.target.scale.copy_(self.critic.scale)  # the sampler of bootstrap=steered counts on it
        training.run(settings.offline + number * settings.updates, self._write_state, SAVE_EVERY, f"fit {number}")
        self.critic = copy.deepcopy(training.objective.target)
        self.critic.requires_grad_(False).eval()
        self._finish_fit(number, {"loss": training.loss})

    def _weights(self) -> dict[str, Any]:
        return {**super()._weights(), "training": self.training.state()}

    def _restore(self, weights: Mapping[str, Any]) -> None:
        super()._restore(weights)
        self.training.restore(weights["training"])
        number = self.state.rounds
        if self.training.updates < self.settings.offline + number * self.settings.updates:
            self._fit(number, None)
            self._write_state()

    def _start_twins(self) -> Figures:
        """There are none: they would need as many updates."""
        return dict

    @cached_property
    def training(self) -> GoingOn:
        """The critic under training; made when round 0 is known."""
        settings, values, replay = self.settings, self.fitting.values, self.replay.whole
        critic = self.fitting.new(self.frozen.policy, settings.seed)
        with seeded_weights(settings.seed):
            if settings.method == TD:
                best = settings.bootstrap == BEST
                objective: Bootstrapping = TemporalDifference(critic, replay, self._next_chunks, best, values.backup)
            else:
                made = OBJECTIVES[settings.method](critic, replay, values.backup)
                assert isinstance(made, Bootstrapping)
                objective = made
        return GoingOn(objective, settings.rows, fit_seed(settings.seed, 0))

    def _next_chunks(self, rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
        """What the policy would execute at the replay's rows (B,): (B, K, h, D)."""
        replay = self.training.objective.replay
        if self.settings.bootstrap == STEERED:
            return self._steered(replay.observations[rows], critic, generator)[:, None]
        return self.drawn[self.starts[replay.episode[rows]] + replay.step[rows]].float()

    def _steered(self, normalised: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
        """What the sampler executes with this critic, (B, h, D)."""
        policy = self.frozen.policy
        raw = normalised * critic.observation_std + critic.observation_mean
        parts = raw.split(list(self.fitting.sizes.values()), dim=1)
        seen = {name: part.cpu().numpy() for name, part in zip(self.fitting.sizes, parts, strict=True)}
        if generator.device.type != "cpu":  # samplers draw on the CPU
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            generator = torch.Generator().manual_seed(int(seed))
        chunks = self.sampler(self._models(critic), seen, [generator] * len(normalised))
        return chunks[:, : policy.execute].detach().to(normalised.device)
