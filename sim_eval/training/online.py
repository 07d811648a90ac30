"""Learn a critic while it steers: first from episodes of the frozen policy, then from those that it steers itself.

After the protocol of Ruan et al. 2026 (arXiv 2606.14801): the policy stays frozen, the critic learns on the replay of
steered episodes. Here episodes come in rounds, and after each the critic is fitted to all of them, by default anew and
with few updates: a critic that goes on from its weights overfits the episodes that it has seen for longest. A round is
steered at strengths around the evaluation's, and a share of it is played by `best_of_n`, so that the critic sees what
steering of any strength leads to.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from sim_eval.config.engine import Cluster
from sim_eval.models.build import check_needs, resolve_device
from sim_eval.rollout.rehearsal import rehearse
from sim_eval.rollout.start import open_engine
from sim_eval.samplers import Models, Sampler, Unsteered
from sim_eval.training.actors import ACTOR_LEARNERS, ActorLearner
from sim_eval.training.beside_data import BesideData
from sim_eval.training.collect import state_of
from sim_eval.training.critic import values_of
from sim_eval.training.fit_processes import FitProcesses
from sim_eval.training.learner import Learner
from sim_eval.training.names import PLAY
from sim_eval.training.online_fit import CriticFit
from sim_eval.training.online_folder import Evaluation, open_folder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import Player
from sim_eval.training.play_files import STATE
from sim_eval.training.workspace import seeded_weights, trained_on
from tasks.packages import SIMULATION, versions
from tasks.task import TaskSpec

#: Of the critic: less than the offline critics' 192, for it is fitted many times.
WIDTH = 128


def learn(settings: LearnOptions) -> list[Evaluation]:
    """Play, learn and evaluate until `steps` are reached; returns the curve. What an earlier run did is not repeated.

    Raises RunError for models that do not fit, a folder of another run, and an episode that crashes.
    """
    torch.set_num_threads(1)  # as in training: small products gain nothing from more
    sampler = settings.build_sampler()
    frozen = settings.build_models([Unsteered(), *([sampler] if "posterior" in sampler.needs else [])])
    make_task = settings.task.factory()
    with closing(make_task()) as probe:
        fitting = fitting_of(settings, probe.spec)
    critic = replace(fitting, device=frozen.policy.device).new(frozen.policy, settings.seed)
    models, name = replace(frozen, critic=critic), settings.sampler_name
    check_needs(name, sampler, settings.policy.label, models)
    rehearse(settings.task_name, make_task, settings.workers, {name: sampler}, models, "train")
    with (
        open_folder(settings.output, stored(settings, frozen, fitting)) as folder,
        open_engine(make_task, settings.workers, settings.batch, settings.overlap, settings.each) as engine,
        FitProcesses(_twin_processes(settings, fitting)) as processes,
    ):
        actors = new_actors(settings, sampler, fitting, frozen)
        player = Player(settings, engine, tuple(fitting.sizes))
        kind = BesideData if settings.data else Learner
        return kind(settings, sampler, frozen, folder, player, processes, fitting, critic, actors).run()


def stored(settings: LearnOptions, frozen: Models, fitting: CriticFit) -> dict[str, Any]:
    """All that a run that goes on must share, as plain values."""
    return {
        **settings.stored(),
        "fingerprints": dict(frozen.fingerprints),
        "simulator": versions(SIMULATION),
        **trained_on(fitting.device),
    }


def fitting_of(settings: LearnOptions, spec: TaskSpec) -> CriticFit:
    """How a run with these settings fits its critic; the normalisation is still to be measured."""
    of_play = any(path.suffix == PLAY for path in settings.data)  # which holds no other vector
    sizes = {name: spec.observations[name].shape[0] for name in ((STATE,) if of_play else state_of(spec))}
    states = sum(sizes.values())
    return CriticFit(
        method=settings.method,
        sizes=sizes,
        mean=torch.zeros(states),
        deviation=torch.ones(states),
        size={"width": WIDTH, **settings.size(), "pessimism": settings.pessimism},
        values=values_of(settings.method, spec.reward_range, settings.backup()),
        updates=settings.updates,
        rows=settings.rows,
        anew=settings.refit,
        device=resolve_device(settings.device, settings.policy),
    )


def _twin_processes(settings: LearnOptions, fitting: CriticFit) -> int:
    """A process for each twin, if there are cores for them: a GPU is one, and with `data` there are no twins."""
    several = isinstance(settings.workers, Cluster) or settings.workers > 1
    return 2 if several and fitting.device.type == "cpu" and not settings.data else 0


def new_actors(settings: LearnOptions, sampler: Sampler, fitting: CriticFit, frozen: Models) -> dict[str, ActorLearner]:
    """An actor for each that the sampler needs."""
    policy, inputs = frozen.policy, sum(fitting.sizes.values())
    with seeded_weights(settings.seed):
        return {
            need: ACTOR_LEARNERS[need](inputs, policy.horizon, policy.action_dim).to(fitting.device)
            for need in sorted(sampler.needs & ACTOR_LEARNERS.keys())
        }
