"""Offline to online: a critic learns from recorded data, then from these and the episodes that it steers, alike.

After the protocol of Ruan et al. 2026 (arXiv 2606.14801) on OGBench: the policy stays frozen, and mini-batches are
uniform over the data and all episodes so far. Its updates come in rounds here: some after each round of episodes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from critics.backup import Backup
from critics.bootstrapping import Bootstrapping
from critics.ensemble import EnsembleCritic
from critics.objectives import OBJECTIVES, NextChunks, TemporalDifference
from critics.replay import Replay
from policies.policy import Denoiser, FrozenPolicy, Policy
from sim_eval.foundation.errors import RunError
from sim_eval.training.going_on import GoingOn
from sim_eval.training.kept_draws import KeptDraws
from sim_eval.training.learner import Figures, Learner
from sim_eval.training.names import BEST, PLAY, STEERED, TD
from sim_eval.training.online_fit import fit_seed
from sim_eval.training.online_folder import LearnFolder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.play_files import read_play
from sim_eval.training.trajectories import Trajectory, read_hdf5
from sim_eval.training.workspace import seeded_weights

#: Updates between two states that an interrupted fit goes on from.
SAVE_EVERY = 2000


def check_can_draw(settings: LearnOptions, policy: FrozenPolicy, vectors: Sequence[str]) -> None:
    """Raise RunError if targets need the policy's draws at recorded states, which hold these vectors, and lack some."""
    if settings.method == TD and (lacking := set(policy.request.names) - set(vectors)):
        raise RunError(
            f"method is {TD}, for which the policy draws at recorded states, and they lack "
            f"{', '.join(sorted(lacking))}; accepted: a policy that observes {', '.join(vectors)}, or method=sarsa"
        )


def check_recorded(task: str, recorded: Sequence[Trajectory], sizes: Mapping[str, int], policy: FrozenPolicy) -> None:
    """Raise RunError for episodes with other vectors or actions than the critic and the policy of this task have."""
    first = recorded[0]
    found = {name: values.shape[1] for name, values in first.observations.items()}
    if found != dict(sizes) or first.actions.shape[1] != policy.action_dim:
        raise RunError(
            f"data holds vectors of sizes {found} and actions of {first.actions.shape[1]} entries; accepted for "
            f"task {task}: {dict(sizes)} and {policy.action_dim}"
        )


def kept_draws(
    settings: LearnOptions, policy: Policy | Denoiser, device: torch.device, folder: LearnFolder
) -> KeptDraws | None:
    """The policy's draws that the targets count on; None without any."""
    if settings.method != TD or settings.bootstrap == STEERED:
        return None
    return KeptDraws(policy, settings.draws, settings.seed, device, folder.draws)


def training_of(
    settings: LearnOptions, critic: EnsembleCritic, replay: Replay, backup: Backup, next_chunks: NextChunks
) -> GoingOn:
    """What trains this critic on this replay. `next_chunks`: for method=td."""
    with seeded_weights(settings.seed):
        if settings.method == TD:
            best = settings.bootstrap == BEST
            objective: Bootstrapping = TemporalDifference(critic, replay, next_chunks, best, backup)
        else:
            made = OBJECTIVES[settings.method](critic, replay, backup)
            assert isinstance(made, Bootstrapping)
            objective = made
    return GoingOn(objective, settings.rows, fit_seed(settings.seed, 0))


@dataclass
class BesideData(Learner):
    """`offline` updates on the data, then `updates` after each round; what steers are the averaged weights."""

    def _warn(self) -> None:
        """Data may hold any share of successes."""

    def _begin(self) -> None:
        settings, vectors, policy = self.settings, tuple(self.fitting.sizes), self.frozen.policy
        check_can_draw(settings, policy, vectors)
        recorded: list[Trajectory] = []
        for path in settings.data:
            of_play = path.suffix == PLAY
            recorded += read_play(path, settings.task) if of_play else read_hdf5(path, vectors, settings.task_name)
        check_recorded(settings.task_name, recorded, self.fitting.sizes, policy)
        self.folder.begin()
        self._start_from(recorded)

    def _add(self, number: int, trajectories: list[Trajectory]) -> None:
        super()._add(number, trajectories)
        if self.kept is not None:
            self.kept.add(number, trajectories)

    @cached_property
    def kept(self) -> KeptDraws | None:
        """The policy's draws, if used."""
        return kept_draws(self.settings, self.frozen.policy, self.fitting.device, self.folder)

    def _fit(self, number: int, before: EnsembleCritic | None) -> None:
        settings, training = self.settings, self.training
        training.see(self.replay.whole)
        training.objective.target.scale.copy_(self.critic.scale)  # the sampler of bootstrap=steered counts on it
        training.run(settings.offline + number * settings.updates, self._write_state, SAVE_EVERY, f"fit {number}")
        self.critic = copy.deepcopy(training.objective.target)
        self.critic.requires_grad_(False).eval()
        self._finish_fit(number, {"loss": training.losses[0], **training.objective.finish()})

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
        settings, values = self.settings, self.fitting.values
        critic = self.fitting.new(self.frozen.policy, settings.seed)
        return training_of(settings, critic, self.replay.whole, values.backup, self._next_chunks)

    def _next_chunks(self, rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
        """What the policy would execute at the replay's rows (B,): (B, K, h, D)."""
        replay = self.training.objective.replay
        if self.settings.bootstrap == STEERED:
            return self._steered(replay.observations[rows], critic, generator)[:, None]
        assert self.kept is not None
        return self.kept.at(replay, rows)

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
