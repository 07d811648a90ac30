"""Twins of the probed critic: two critics, fitted as it was, that share no episode.

What steering by one of them gains in the eyes of the other is knowledge of chunks. The rest is chance of its data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from critics.backup import OWN
from critics.critic import Critic
from critics.ensemble import EnsembleCritic
from policies.policy import FrozenPolicy
from sim_eval.analysis.curves import OPTIONS
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, read_json
from sim_eval.models.checkpoints import read_checkpoint
from sim_eval.models.options import LEARNED
from sim_eval.models.store import CRITIC, ROOT
from sim_eval.probing.options import ProbeOptions
from sim_eval.samplers.sampler import Models
from sim_eval.training.collect import keep_for
from sim_eval.training.critic import SPREAD_STATES, values_of
from sim_eval.training.draws import policy_draws
from sim_eval.training.online_fit import CriticFit, episodes_of, set_scale, twin_fits
from sim_eval.training.trajectories import Trajectory, policy_of, read_hdf5
from sim_eval.training.workspace import file_hashes


@dataclass(frozen=True)
class Twins:
    """Two critics, frozen, on the policy's device, each with a scale of its own.

    episodes: the number that both were fitted to, each to a half. data: SHA-256 of their files, by name.
    """

    critics: tuple[EnsembleCritic, EnsembleCritic]
    episodes: int
    data: Mapping[str, str]


def obstacle(settings: ProbeOptions, critic: Critic | None) -> str | None:
    """Why the critic has no twins, and what to give, in one line; None if it has some.

    Raises RunError if `data` is given for a critic that has none whatever is given.
    """
    label, reason = settings.critic.label, None
    if not isinstance(critic, EnsembleCritic) or settings.critic.target not in (None, LEARNED):
        reason = f"critic {label} is none that sim-eval learn or sim-eval train fitted"
    elif critic.uses_features:
        reason = f"critic {label} reads the policy's features"
    elif (critic.config.low, critic.config.high) != (0.0, 1.0):
        reason = f"critic {label} predicts returns"
    if reason and settings.data:
        raise RunError(f"data is given, and {reason}; accepted: data=[]")
    if reason:
        return f"{reason}, so that it has no twins; give another critic"
    if not _files(settings):
        return (
            f"no episodes are known that twins of critic {label} could be fitted to; give data=[FILE.hdf5], rollouts "
            "of this policy that sim-eval train stage=rollouts wrote, or critic=FOLDER of a sim-eval learn"
        )
    return None


def fitted(settings: ProbeOptions, models: Models) -> Twins:
    """Fit the twins of a critic without `obstacle`, on the CPU.

    Raises RunError, DatasetError and CheckpointError for files that are missing, damaged or of another policy or task.
    """
    policy, critic = models.policy, models.critic
    assert isinstance(critic, EnsembleCritic)
    fitting, files = _fitting(settings, critic), _files(settings)
    _check_played_by(settings, files, models.fingerprints["policy"])
    rounds = [_read(path, critic, policy) for path in files]
    episodes = [episode for trajectories in rounds for episode in episodes_of(policy, trajectories)]
    if len(episodes) < 2:
        raise RunError(f"{files[0]} holds one episode; accepted: at least two in all, one for each twin")
    first, second = twin_fits(fitting, policy, fitting.replay(episodes), settings.seed, len(rounds) - 1)
    twins = first(), second()
    # as the learner: on the latest round, the last file
    generator = torch.Generator().manual_seed(settings.seed + len(rounds) - 1)
    draws = policy_draws(models, twins[0].to(policy.device), rounds[-1], SPREAD_STATES, generator)
    for twin in twins:
        set_scale(twin.to(policy.device), draws)
    return Twins(twins, len(episodes), file_hashes(files))


def _files(settings: ProbeOptions) -> list[Path]:
    """The files of episodes, in the order in which they were played."""
    if settings.data:
        return list(settings.data)
    learned = settings.critic.options.get("folder")
    return sorted(Path(learned, "replay").glob("*.hdf5")) if learned else []


def _fitting(settings: ProbeOptions, critic: EnsembleCritic) -> CriticFit:
    """How the critic was fitted, with its own normalisation."""
    updates, rows = _effort(settings)
    config = critic.config
    return CriticFit(
        method=config.method,
        sizes=config.observation_sizes,
        mean=critic.observation_mean.cpu(),
        deviation=critic.observation_std.cpu(),
        size={"heads": config.heads, "pessimism": config.pessimism, "width": config.width, "depth": config.depth},
        values=values_of(config.method, None, OWN),
        updates=updates,
        rows=rows,
        anew=True,
        device=torch.device("cpu"),
    )


def _effort(settings: ProbeOptions) -> tuple[int, int]:
    """The optimiser steps of the critic's fit, and the rows of a mini-batch. Raises RunError if no file names them."""
    learned, task = settings.critic.options.get("folder"), settings.task_name
    folder, name = (settings.checkpoints or ROOT) / task, settings.critic.label
    if learned:
        folder, name = Path(learned), settings.critic.options.get("critic", CRITIC)
    checkpoint = read_checkpoint(folder, name, "critic", task)
    path, names = checkpoint.path.with_suffix(".json"), ("steps", "batch")
    stored = checkpoint.card.get("training", {})
    if learned and names[0] not in stored:  # sim-eval learn fitted it
        path, names = Path(learned, OPTIONS), ("updates", "rows")
        if not path.is_file():
            raise RunError(f"{path} is missing, so that it is not known how the critic was fitted")
        stored = read_json(path, dict[str, Any])
    check_fields(str(path), {"training": stored}, {"training": dict[str, Any]})
    check_fields(str(path), stored, dict.fromkeys(names, int))
    return stored[names[0]], stored[names[1]]


def _check_played_by(settings: ProbeOptions, files: Sequence[Path], policy: str) -> None:
    """Raise RunError for episodes of another policy; files that do not name theirs are taken as they are."""
    if settings.data:
        played_by = {path: policy_of(path) for path in files}
    else:
        path = Path(settings.critic.options["folder"], OPTIONS)
        stored = {"fingerprints": {}, **read_json(path, dict[str, Any])}
        check_fields(str(path), stored, {"fingerprints": dict[str, str]})
        played_by = {path: stored["fingerprints"].get("policy")}
    for path, other in played_by.items():
        if other not in (None, policy):
            raise RunError(f"{path} is of policy {other}, and policy {settings.policy.label} is {policy}")


def _read(path: Path, critic: EnsembleCritic, policy: FrozenPolicy) -> list[Trajectory]:
    """The episodes of a file, with what the critic reads. Raises RunError for those of another task or policy."""
    names = critic.observations
    trajectories = read_hdf5(path, names)
    first, needed = trajectories[0], keep_for(policy.request, names)
    sizes = {name: values.shape[1] for name, values in first.observations.items()}
    if sizes != dict(critic.observation_sizes):
        raise RunError(f"{path} holds observations of sizes {sizes}; the critic reads {dict(critic.observation_sizes)}")
    if first.actions.shape[1] != policy.action_dim:
        raise RunError(
            f"{path} holds actions of {first.actions.shape[1]} entries; the policy's have {policy.action_dim}"
        )
    if needed.decisions and not first.decisions:
        raise RunError(f"{path} does not hold what the policy decides on, {', '.join(policy.request.names)}")
    return trajectories
