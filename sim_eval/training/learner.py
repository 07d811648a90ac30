"""The learner: rounds of episodes, and after each a critic that is fitted to all of them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from critics.replay import Played
from sim_eval.models.checkpoints import fingerprints, is_whole, save_checkpoint
from sim_eval.models.strengths import STRENGTHS, Tuned, scales_of, write_strengths
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_key, episode_keys
from sim_eval.samplers import BestOfN, Models, Sampler, Unsteered
from sim_eval.training import outcomes
from sim_eval.training.actors import ActorLearner
from sim_eval.training.critic import SPREAD_STATES, valued_policy
from sim_eval.training.draws import PolicyDraws, joined, policy_draws
from sim_eval.training.exploring import Exploring
from sim_eval.training.online_fit import (
    CriticFit,
    agreement,
    episodes_of,
    fit_actors,
    fit_seed,
    fit_twins,
    set_scale,
)
from sim_eval.training.online_folder import Evaluation, LearnerState, LearnFolder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import UNCUT, Player, cut, steps_of, trajectories_of
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import origin, trained_on
from tasks.task import EpisodeKey

#: Visited states of each round in which the policy draws for the actors.
ROUND_STATES = 64


@dataclass
class Learner:
    """Plays rounds, fits the critic anew to all of them, evaluates."""

    settings: LearnOptions
    sampler: Sampler
    frozen: Models
    folder: LearnFolder
    player: Player
    fitting: CriticFit
    critic: EnsembleCritic  # of the latest fit
    actors: Mapping[str, ActorLearner]
    state: LearnerState = field(default_factory=LearnerState)
    limit: int | None = None  # control steps of a training episode
    latest: list[Trajectory] = field(default_factory=list)  # of the latest round; round 0 is unsteered
    episodes: list[Played] = field(default_factory=list)  # of all rounds
    draws: PolicyDraws | None = None  # that the actors learn from

    def run(self) -> list[Evaluation]:
        settings = self.settings
        self._begin()
        earlier = self.folder.read_state()
        if earlier is None or earlier.steps < settings.steps:
            self._warn()
        if earlier is None:
            self._fit(None)
        else:
            self.state = earlier
            for number in range(1, earlier.rounds + 1):
                self._add(number, self._replay(number))
            self._restore(earlier.weights)
        with tqdm(total=settings.steps, initial=self.state.steps, desc="learning", disable=None) as bar:
            while True:
                ended = self.state.steps >= settings.steps
                if ended and settings.strengths:
                    self._choose_strength()
                self._evaluate_if_due()
                if ended:
                    self._mend()
                    return self.state.curve
                bar.set_postfix(success=f"{self._round():.2f}")
                self._fit(self.critic)
                bar.update(steps_of(self.latest))

    def _warn(self) -> None:
        """Tell stderr what the options leave short."""
        settings = self.settings
        for told in outcomes.before_learning(self.latest, self.limit, settings.steps, settings.round):
            tqdm.write(told, file=sys.stderr)

    def _begin(self) -> None:
        """The frozen policy's episodes, played once: the replay starts with them, and they say what is normal."""
        settings = self.settings
        keys = [episode_key(settings.task_name, settings.seed, index, "train") for index in range(settings.rollouts)]
        if not self.folder.has_replay(0):
            played = self.player.play(keys[:UNCUT], Unsteered(), self.frozen, some=True)
            played += self.player.play(keys[UNCUT:], Unsteered(), self.frozen, cut(played), some=True)
            self.folder.write_replay(0, self._trajectories(played), settings.task_name)
        unsteered = self._replay(0)
        self.limit = cut(unsteered[:UNCUT])
        self._start_from(unsteered)

    def _start_from(self, trajectories: list[Trajectory]) -> None:
        """Measure the critic's normalisation on the first episodes, which round 0 stands for."""
        self.fitting = self.fitting.measured(self.frozen.policy, trajectories)
        self.critic = self.fitting.new(self.frozen.policy, self.settings.seed)
        self._add(0, trajectories)

    def _trajectories(self, played: Sequence[Episode]) -> list[Trajectory]:
        return trajectories_of(played, self.fitting.values.returns)

    def _mend(self) -> None:
        """Write the files of an ended run again from its state, where they are missing or damaged."""
        need = [*self.actors, "critic"]
        chosen = self.state.strength is None or (self.folder.path / STRENGTHS).is_file()
        if not chosen or not all(is_whole(self.folder.path, name, name, self.settings.task_name) for name in need):
            self._save(self._models(), self.state.curve[-1].critic)
            tqdm.write(
                f"critic of {self.folder.path} written again, for a file was missing or damaged", file=sys.stderr
            )
        self.folder.write_curve(self.state.curve)

    def _round(self) -> float:
        """Play a round and learn from its episodes from now on. Returns the share of successes."""
        number = self.state.rounds + 1
        trajectories = self._play(number)
        self._add(number, trajectories)
        self.state.rounds, self.state.steps = number, self.state.steps + steps_of(trajectories)
        return float(np.mean([trajectory.success for trajectory in trajectories]))

    def _play(self, number: int) -> list[Trajectory]:
        """Play round `number` with the critic as it is, and keep its episodes."""
        settings = self.settings
        first = settings.rollouts + (number - 1) * settings.round
        keys = [
            episode_key(settings.task_name, settings.seed, first + index, "train") for index in range(settings.round)
        ]
        chosen, models = round(settings.best_of_n * len(keys)), self._models()
        played = self.player.play(keys[:chosen], BestOfN(), models, self.limit, some=True)
        played += self.player.play(keys[chosen:], self._explorer(), models, self.limit, some=True)
        trajectories = self._trajectories(played)
        self.folder.write_replay(number, trajectories, settings.task_name)
        return trajectories

    def _explorer(self) -> Sampler:
        """The sampler of the steered episodes of a round."""
        explore = self.settings.explore
        return Exploring(self.sampler, explore) if explore and hasattr(self.sampler, "strength") else self.sampler

    def _fit(self, before: EnsembleCritic | None) -> None:
        """Learn the critic and its actors from all rounds so far, and note that this is done."""
        settings, number = self.settings, self.state.rounds
        seed = fit_seed(settings.seed, number)
        self.critic, figures = self.fitting(self.frozen.policy, self.episodes, before, seed, f"fit {number}")
        set_scale(self.critic, self._policy_draws(number, SPREAD_STATES))
        if self.draws is not None:
            fit_actors(self.actors, self.critic, self.draws, settings.updates, settings.rows, seed)
        self.state.figures = figures
        self.state.weights = {name: module.state_dict() for name, module in self._modules().items()}
        self.folder.write_state(self.state)

    def _restore(self, weights: Mapping[str, Any]) -> None:
        """Return to an earlier run's latest fit."""
        for name, module in self._modules().items():
            module.load_state_dict(weights[name])
        self.critic.requires_grad_(False).eval()

    def _modules(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, **self.actors}

    def _choose_strength(self) -> None:
        """Steer at the strength with the most successes on the tune block, the least of equals; once for each end."""
        settings, state = self.settings, self.state
        if state.strength is None or state.strength[0] != state.steps:
            keys = episode_keys(settings.task_name, settings.seed, settings.episodes, "tune")
            models, solved = self._models(), {}
            for strength in sorted(settings.strengths):
                sampler = settings.build_sampler(strength)
                solved[strength] = sum(episode.success for episode in self.player.play(keys, sampler, models))
                tqdm.write(f"strength {strength}: {solved[strength]}/{len(keys)} on the tune block")
            state.strength = (state.steps, max(solved, key=lambda strength: (solved[strength], -strength)))
            self.folder.write_state(state)
        self.sampler = settings.build_sampler(state.strength[1])

    def _evaluate_if_due(self) -> None:
        """Evaluate at 0, after every `evaluate` steps, and at the end."""
        settings, steps, curve = self.settings, self.state.steps, self.state.curve
        due = not curve or steps // settings.evaluate > curve[-1].steps // settings.evaluate or steps >= settings.steps
        if not due or (curve and curve[-1].steps == steps):
            return
        keys, models = episode_keys(settings.task_name, settings.seed, settings.episodes, "eval"), self._models()
        unsteered = None if curve or isinstance(self.sampler, Unsteered) else self._unsteered(keys)
        episodes = self.player.play(keys, self.sampler, models)
        mean_q = float(np.mean([episode.mean_q for episode in episodes if episode.mean_q is not None]))
        outcomes = tuple(episode.success for episode in episodes)
        figures = self._figures()
        self._save(models, figures)  # first, for what is in the state is not made again
        strength = getattr(self.sampler, "strength", None)
        self.state.curve = [*curve, Evaluation(steps, outcomes, mean_q, strength, figures, unsteered)]
        self.folder.write_state(self.state)
        tqdm.write(f"{steps} steps: {sum(outcomes)}/{len(outcomes)} with {settings.sampler_name}, mean Q {mean_q:.2f}")

    def _unsteered(self, keys: Sequence[EpisodeKey]) -> tuple[bool, ...]:
        """Success of the frozen policy's own draws, which every evaluation is held against."""
        return tuple(episode.success for episode in self.player.play(keys, Unsteered(), self.frozen))

    def _figures(self) -> dict[str, float | None]:
        """What the curve says of the critic."""
        return {**self.state.figures, "twin_agreement": self._twin_agreement()}

    def _twin_agreement(self) -> float:
        """How far two critics, each fitted to every other episode, agree within states of the latest round."""
        number, policy = self.state.rounds, self.frozen.policy
        first, second = fit_twins(self.fitting, policy, self.episodes, self.settings.seed, number)
        return agreement(first, second, self._policy_draws(number, SPREAD_STATES))

    def _replay(self, number: int) -> list[Trajectory]:
        return self.folder.read_replay(number, tuple(self.fitting.sizes))

    def _add(self, number: int, trajectories: list[Trajectory]) -> None:
        """Add round `number` to what is learned from."""
        self._see(number, trajectories)
        self.episodes += episodes_of(self.frozen.policy, trajectories, self.fitting.values.returns)

    def _see(self, number: int, trajectories: list[Trajectory]) -> None:
        """Take round `number` for the latest."""
        self.latest = trajectories
        if self.actors:
            drawn = self._policy_draws(number, ROUND_STATES if number else SPREAD_STATES)
            self.draws = drawn if self.draws is None else joined([self.draws, drawn])

    def _policy_draws(self, number: int, states: int) -> PolicyDraws:
        """The frozen policy's draws in states of the latest round, which has this number."""
        generator = torch.Generator().manual_seed(self.settings.seed + number)
        return policy_draws(self.frozen, self.critic, self.latest, states, generator)

    def _models(self, critic: EnsembleCritic | None = None) -> Models:
        """The models that steer with this critic, or the one learned so far: copies, for it stays on its device."""
        policy = self.frozen.policy
        actors = {need: copy.deepcopy(learner.actor).to(policy.device) for need, learner in self.actors.items()}
        return Models(policy, copy.deepcopy(critic or self.critic).to(policy.device), self.frozen.posterior, actors)

    def _save(self, models: Models, figures: Mapping[str, float | None]) -> None:
        training = trained_on(self.fitting.device)
        card = {
            "task": self.settings.task_name,
            **origin(self.settings.seed, {}),
            **valued_policy(self.frozen),
            "steps": self.state.steps,
            "held_out": dict(figures),
            **({"training": training} if training else {}),
        }
        for need, actor in models.actors.items():
            save_checkpoint(self.folder.path, need, actor, {"kind": need, **card})
        save_checkpoint(self.folder.path, "critic", self.critic, {"kind": "critic", **card})
        if self.state.strength is not None:
            self._write_strength(self.state.strength[1])

    def _write_strength(self, strength: float) -> None:
        """Keep the chosen strength beside its critic."""
        settings, path = self.settings, self.folder.path / STRENGTHS
        path.unlink(missing_ok=True)
        tuned = Tuned(
            self.frozen.fingerprints["policy"],
            fingerprints(self.folder.path, ".", "critic", "critic")["critic"],
            {settings.sampler_name: strength},
            scales_of(settings.sampler),
        )
        write_strengths(path, settings.task_name, settings.policy.label, tuned)
