"""Learn a critic while it steers: first from episodes of the frozen policy, then from those that it steers itself.

After the protocol of Ruan et al. 2026 (arXiv 2606.14801): the policy stays frozen, the critic learns on the replay of
steered episodes; there by SARSA, here by any objective. Episodes come in rounds. While a round is played with one
critic, the next critic learns from the rounds before it, in a thread: results depend on neither the machine's speed nor
its number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from tqdm import tqdm

from critics.actor import ChunkActor
from critics.ensemble import CriticConfig, EnsembleCritic
from sim_eval.checkpoints import save_checkpoint
from sim_eval.config.tasks import task_factory
from sim_eval.engine.engine import Engine
from sim_eval.engine.start import open_engine
from sim_eval.errors import RunError
from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.learning.actors import ACTOR_LEARNERS, ActorLearner
from sim_eval.learning.folder import Evaluation, LearnFolder, Progress, open_folder
from sim_eval.learning.settings import LearnSettings
from sim_eval.learning.trainer import CriticTrainer, Played
from sim_eval.models import check_needs
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_key, episode_keys
from sim_eval.samplers import Models, Sampler, Unsteered
from sim_eval.training.collect import keep_for, state_of, trajectory_of
from sim_eval.training.critic import SPREAD_STATES, chunk_rows, set_normalisation, state_rows, valued_policy
from sim_eval.training.draws import PolicyDraws, policy_draws, q_spread
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import origin, seeded_weights
from tasks.packages import SIMULATION, versions
from tasks.task import EpisodeKey, TaskSpec


def learn(settings: LearnSettings) -> list[Evaluation]:
    """Play, learn and evaluate until `steps` are reached; returns the curve. What an earlier run did is not repeated.

    Raises RunError for models that do not fit, a folder of another run, and an episode that crashes.
    """
    torch.set_num_threads(1)  # as in training: small products gain nothing from more
    sampler = settings.build_sampler()
    frozen = settings.build_models([Unsteered(), *([sampler] if "posterior" in sampler.needs else [])])
    make_task = task_factory(settings.task)
    with closing(make_task()) as probe:
        critic = _new_critic(settings, frozen, probe.spec)
    check_needs(settings.sampler_name, sampler, settings.policy.label, replace(frozen, critic=critic))
    actors = _new_actors(settings, sampler, critic)
    options = {
        **settings.stored(),
        "fingerprints": dict(frozen.fingerprints),
        "simulator": versions(SIMULATION),
    }
    tell_of_compiling(settings.task)
    with (
        open_folder(settings.output, options) as folder,
        open_engine(make_task, settings.workers, settings.batch) as engine,
    ):
        return _Learner(settings, sampler, frozen, critic, actors, folder, engine).run()


#: Of the critic, which is updated at every few control steps: half the time of the shipped ones' 192.
WIDTH = 128
#: Visited states of each round in which the policy draws for the actors.
ROUND_STATES = 64


@dataclass
class _Learner:
    settings: LearnSettings
    sampler: Sampler
    frozen: Models
    critic: EnsembleCritic  # the one that learns
    actors: Mapping[str, ActorLearner]
    folder: LearnFolder
    engine: Engine
    progress: Progress = field(default_factory=Progress)

    def run(self) -> list[Evaluation]:
        settings = self.settings
        base = self._base()
        set_normalisation(self.critic, self.frozen, [state_rows(trajectory) for trajectory in base])
        draws = self._draws(0, base, SPREAD_STATES)
        trainer = CriticTrainer(self.critic, self._played(base), settings.seed, settings.rows, self.actors, draws)
        earlier = self.folder.read_progress()
        if earlier is None:
            trainer.update(round(settings.updates * _steps(base)), "first fit")
            self.progress.trainer = trainer.state()
            self.folder.write_progress(self.progress)
        else:
            self.progress = earlier
            for number in range(1, earlier.rounds + 1):
                self._add(trainer, number, self._replay(number))
            trainer.load(earlier.trainer)
        with (
            ThreadPoolExecutor(1, "critic") as executor,
            tqdm(total=settings.steps, initial=self.progress.steps, desc="learning", disable=None) as bar,
        ):
            while True:
                models = self._steered(trainer, draws)
                self._evaluate_if_due(models)
                if self.progress.steps >= settings.steps:
                    return self.progress.curve
                self._round(trainer, models, executor, bar)

    def _round(self, trainer: CriticTrainer, models: Models, executor: ThreadPoolExecutor, bar: tqdm[None]) -> None:
        """Play a round with the critic as it is, while it learns from the rounds before."""
        settings, number = self.settings, self.progress.rounds + 1
        learning = executor.submit(trainer.update, round(settings.updates * self.progress.latest))
        first = settings.rollouts + self.progress.rounds * settings.round
        keys = [
            episode_key(settings.task_name, settings.seed, first + index, "train") for index in range(settings.round)
        ]
        played = self._play(keys, self.sampler, models)
        learning.result()
        trajectories = [trajectory_of(episode) for episode in played]
        self.folder.write_replay(number, trajectories, settings.task_name)
        self._add(trainer, number, trajectories)
        latest = _steps(trajectories)
        self.progress = Progress(
            rounds=number,
            steps=self.progress.steps + latest,
            latest=latest,
            trainer=trainer.state(),
            curve=self.progress.curve,
        )
        self.folder.write_progress(self.progress)
        bar.update(latest)
        bar.set_postfix(success=f"{np.mean([episode.success for episode in played]):.2f}")

    def _evaluate_if_due(self, models: Models) -> None:
        """Evaluate at 0, after every `evaluate` steps, and at the end."""
        settings, steps, curve = self.settings, self.progress.steps, self.progress.curve
        due = not curve or steps // settings.evaluate > curve[-1].steps // settings.evaluate or steps >= settings.steps
        if not due or (curve and curve[-1].steps == steps):
            return
        keys = episode_keys(settings.task_name, settings.seed, settings.episodes, "eval")
        episodes = self._play(keys, self.sampler, models)
        mean_q = float(np.mean([episode.mean_q for episode in episodes if episode.mean_q is not None]))
        outcomes = tuple(episode.success for episode in episodes)
        self.progress.curve = [*curve, Evaluation(steps, outcomes, mean_q)]
        assert isinstance(models.critic, EnsembleCritic)
        self._save(models.critic, models.actors)  # first, for what is in the progress is not made again
        self.folder.write_progress(self.progress)
        tqdm.write(f"{steps} steps: {sum(outcomes)}/{len(outcomes)} with {settings.sampler_name}, mean Q {mean_q:.2f}")

    def _base(self) -> list[Trajectory]:
        """The frozen policy's episodes, played once; the replay starts with them."""
        settings = self.settings
        if not self.folder.has_replay(0):
            keys = [
                episode_key(settings.task_name, settings.seed, index, "train") for index in range(settings.rollouts)
            ]
            played = self._play(keys, Unsteered(), self.frozen)
            self.folder.write_replay(0, [trajectory_of(episode) for episode in played], settings.task_name)
        return self._replay(0)

    def _replay(self, number: int) -> list[Trajectory]:
        return self.folder.read_replay(number, self.critic.observations)

    def _play(self, keys: Sequence[EpisodeKey], sampler: Sampler, models: Models) -> list[Episode]:
        """Episodes in the order of their keys. Raises RunError if one crashes."""
        settings = self.settings
        keep, name = keep_for(models.policy.request, self.critic.observations), settings.sampler_name
        episodes = list(self.engine.play(keys, sampler, models, name, keep))
        for episode in episodes:
            if episode.error is not None:
                raise RunError(f"{name}, episode {episode.key.episode}: {episode.error}")
        return sorted(episodes, key=lambda episode: episode.key.episode)

    def _add(self, trainer: CriticTrainer, number: int, trajectories: Sequence[Trajectory]) -> None:
        """Add a round to what is learned from."""
        draws = self._draws(number, trajectories, ROUND_STATES) if self.actors else None
        trainer.add(self._played(trajectories), draws)

    def _draws(self, number: int, trajectories: Sequence[Trajectory], states: int) -> PolicyDraws:
        """The frozen policy's draws in states of round `number`."""
        generator = torch.Generator().manual_seed(self.settings.seed + number)
        return policy_draws(self.frozen, self.critic, trajectories, states, generator)

    def _steered(self, trainer: CriticTrainer, draws: PolicyDraws) -> Models:
        """The models that steer with what is learned so far; Q's scale is measured on `draws`."""
        critic, device = trainer.frozen(), self.frozen.policy.device
        critic.scale.copy_(q_spread(critic, draws).clamp_min(1e-6))
        actors = {need: actor.to(device) for need, actor in trainer.frozen_actors().items()}
        return Models(self.frozen.policy, critic.to(device), self.frozen.posterior, actors)

    def _played(self, trajectories: Sequence[Trajectory]) -> list[Played]:
        policy = self.frozen.policy
        return [
            (state_rows(trajectory), chunk_rows(policy, trajectory), trajectory.success) for trajectory in trajectories
        ]

    def _save(self, critic: EnsembleCritic, actors: Mapping[str, ChunkActor]) -> None:
        card = {
            "task": self.settings.task_name,
            **origin(self.settings.seed, {}),
            **valued_policy(self.frozen),
            "steps": self.progress.steps,
        }
        for need, actor in actors.items():
            save_checkpoint(self.folder.path, need, actor, {"kind": need, **card})
        save_checkpoint(self.folder.path, "critic", critic, {"kind": "critic", **card})


def _new_critic(settings: LearnSettings, frozen: Models, spec: TaskSpec) -> EnsembleCritic:
    config = CriticConfig(
        settings.method,
        {name: spec.observations[name].shape[0] for name in state_of(spec)},
        frozen.policy.action_dim,
        frozen.policy.horizon,
        heads=settings.heads,
        width=WIDTH,
        pessimism=settings.pessimism,
    )
    with seeded_weights(settings.seed):
        return EnsembleCritic(config)


def _new_actors(settings: LearnSettings, sampler: Sampler, critic: EnsembleCritic) -> dict[str, ActorLearner]:
    """An actor for each that the sampler needs."""
    config = critic.config
    inputs = sum(config.observation_sizes.values())
    with seeded_weights(settings.seed):
        return {
            need: ACTOR_LEARNERS[need](inputs, config.horizon, config.action_dim)
            for need in sorted(sampler.needs & ACTOR_LEARNERS.keys())
        }


def _steps(trajectories: Sequence[Trajectory]) -> int:
    return sum(len(trajectory.actions) for trajectory in trajectories)
