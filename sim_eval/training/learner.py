"""The learner: rounds of episodes, and after each a critic that is fitted to all of them.

With `overlap` fit N runs while fit N - 1 is evaluated, if that is due, and steers round N + 1. Until all three are
done, the state that is stored is that of fit N - 1. Without worker processes the same happens in turn.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from critics.growing_replay import GrowingReplay
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
from sim_eval.training.fit_processes import FitProcesses
from sim_eval.training.online_fit import (
    CriticFit,
    agreement,
    episodes_of,
    fit_actors,
    fit_seed,
    set_scale,
    twin_fits,
)
from sim_eval.training.online_folder import Evaluation, LearnerState, LearnFolder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import UNCUT, Player, cut, steps_of, trajectories_of
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import origin, trained_on
from tasks.task import EpisodeKey

#: Of a critic that is under evaluation; the call waits for those that are fitted beside it.
Figures = Callable[[], dict[str, float | None]]

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
    processes: FitProcesses  # of the twins
    fitting: CriticFit
    critic: EnsembleCritic  # of the latest fit
    actors: Mapping[str, ActorLearner]
    state: LearnerState = field(default_factory=LearnerState)
    limit: int | None = None  # control steps of a training episode
    latest: list[Trajectory] = field(default_factory=list)  # of the latest round; round 0 is unsteered
    replay: GrowingReplay = field(default_factory=GrowingReplay)  # of all rounds
    draws: PolicyDraws | None = None  # that the actors learn from
    spread_draws: tuple[int, PolicyDraws] | None = None  # in `SPREAD_STATES` states of a round, with its number
    twins: Figures | None = None  # under way
    before: Models | None = None  # with overlap, of the fit before the latest, if there is one
    ahead: list[Trajectory] | None = None  # with overlap, the round that the next fit learns from, once it is played

    def run(self) -> list[Evaluation]:
        settings = self.settings
        self._begin()
        earlier = self.folder.read_state()
        if earlier is None or earlier.steps < settings.steps:
            self._warn()
        if earlier is None:
            self.twins = self._start_twins()
            self._fit(0, None)
            self._write_state()
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
                if ended or not settings.overlap:
                    self._evaluate_if_due()
                if ended:
                    self._mend()
                    return self.state.curve
                if settings.overlap:
                    self._learn_while_playing()
                else:
                    self._play_and_learn()
                bar.set_postfix(success=f"{np.mean([trajectory.success for trajectory in self.latest]):.2f}")
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

    def _play_and_learn(self) -> None:
        """Play a round, then learn from it."""
        state, number = self.state, self.state.rounds + 1
        self._add(number, self._round(number, self._models()))
        state.rounds, state.steps = number, state.steps + steps_of(self.latest)
        if self._due():
            self.twins = self._start_twins()
        self._fit(number, self.critic)
        self._write_state()

    def _learn_while_playing(self) -> None:
        """Learn from a round, and let the critic from before play the next one, after its evaluation if that is due."""
        state, number, models, due = self.state, self.state.rounds + 1, self._models(), self._due()
        if self.ahead is None:  # at the start, and after an interruption
            self.ahead = self._round(number, self.before or models)
        steps = state.steps + steps_of(self.ahead)

        def play() -> tuple[Evaluation | None, list[Trajectory] | None]:
            evaluation = self._evaluated(models) if due else None
            return evaluation, self._round(number + 1, models) if steps < self.settings.steps else None

        figures, twins = dict(state.figures), self._twins_under_way() if due else dict
        with self.player.beside(play) as playing:
            self._add(number, self.ahead)
            self._fit(number, self.critic)
            evaluation, self.ahead = playing.result()
        if evaluation is not None:
            self._note(evaluation, models, {**figures, **twins()})
        state.rounds, state.steps, self.before = number, steps, models
        self._write_state()

    def _round(self, number: int, models: Models) -> list[Trajectory]:
        """The round that these models play; its episodes are kept, and read if an earlier run has kept them."""
        settings = self.settings
        if self.folder.has_replay(number):
            return self._replay(number)
        first = settings.rollouts + (number - 1) * settings.round
        keys = [
            episode_key(settings.task_name, settings.seed, first + index, "train") for index in range(settings.round)
        ]
        chosen = round(settings.best_of_n * len(keys))
        played = self.player.play(keys[:chosen], BestOfN(), models, self.limit, some=True)
        played += self.player.play(keys[chosen:], self._explorer(), models, self.limit, some=True)
        trajectories = self._trajectories(played)
        self.folder.write_replay(number, trajectories, settings.task_name)
        return trajectories

    def _explorer(self) -> Sampler:
        """The sampler of the steered episodes of a round."""
        explore = self.settings.explore
        return Exploring(self.sampler, explore) if explore and hasattr(self.sampler, "strength") else self.sampler

    def _fit(self, number: int, before: EnsembleCritic | None) -> None:
        """Learn the critic and its actors from all rounds so far, of which the latest has this number."""
        settings = self.settings
        seed = fit_seed(settings.seed, number)
        self.critic, figures = self.fitting(self.frozen.policy, self.replay.whole, before, seed, f"fit {number}")
        self._finish_fit(number, figures)

    def _finish_fit(self, number: int, figures: Mapping[str, float | None]) -> None:
        """Scale the critic and fit the actors to it."""
        settings = self.settings
        set_scale(self.critic, self._spread_draws(number))
        if self.draws is not None:
            seed = fit_seed(settings.seed, number)
            fit_actors(self.actors, self.critic, self.draws, settings.updates, settings.rows, seed)
        self.state.figures = figures

    def _write_state(self) -> None:
        """Note what is done."""
        self.state.weights = self._weights()
        self.folder.write_state(self.state)

    def _weights(self) -> dict[str, Any]:
        weights: dict[str, Any] = {name: module.state_dict() for name, module in self._modules().items()}
        if self.before is not None:
            weights["before"] = {name: module.state_dict() for name, module in _steering(self.before).items()}
        return weights

    def _restore(self, weights: Mapping[str, Any]) -> None:
        """Return to an earlier run's latest fit."""
        for name, module in self._modules().items():
            module.load_state_dict(weights[name])
        self.critic.requires_grad_(False).eval()
        if "before" in weights:
            self.before = self._models()
            for name, module in _steering(self.before).items():
                module.load_state_dict(weights["before"][name])

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
        if self._due():
            twins, models = self._twins_under_way(), self._models()
            evaluation = self._evaluated(models)
            self._note(evaluation, models, {**self.state.figures, **twins()})
            self.folder.write_state(self.state)

    def _due(self) -> bool:
        """Whether the latest fit is evaluated: at 0, after every `evaluate` steps, and at the end."""
        settings, steps, curve = self.settings, self.state.steps, self.state.curve
        if not curve:
            return True
        before = curve[-1].steps
        return before != steps and (steps // settings.evaluate > before // settings.evaluate or steps >= settings.steps)

    def _evaluated(self, models: Models) -> Evaluation:
        """The evaluation of the latest fit, without its figures."""
        settings, first = self.settings, not self.state.curve
        keys = episode_keys(settings.task_name, settings.seed, settings.episodes, "eval")
        unsteered = self._unsteered(keys) if first and not isinstance(self.sampler, Unsteered) else None
        episodes = self.player.play(keys, self.sampler, models)
        mean_q = float(np.mean([episode.mean_q for episode in episodes if episode.mean_q is not None]))
        won, strength = tuple(episode.success for episode in episodes), getattr(self.sampler, "strength", None)
        return Evaluation(self.state.steps, won, mean_q, strength, {}, unsteered)

    def _note(self, evaluation: Evaluation, models: Models, figures: Mapping[str, float | None]) -> None:
        """Save what was evaluated, then add it to the curve: what is in the state is not made again."""
        self._save(models, figures)
        self.state.curve = [*self.state.curve, replace(evaluation, critic=figures)]
        won, name = evaluation.outcomes, self.settings.sampler_name
        tqdm.write(f"{evaluation.steps} steps: {sum(won)}/{len(won)} with {name}, mean Q {evaluation.mean_q:.2f}")

    def _unsteered(self, keys: Sequence[EpisodeKey]) -> tuple[bool, ...]:
        """Success of the frozen policy's own draws, which every evaluation is held against."""
        return tuple(episode.success for episode in self.player.play(keys, Unsteered(), self.frozen))

    def _twins_under_way(self) -> Figures:
        """The twins of the latest round, started if they are not; for one evaluation."""
        twins, self.twins = self.twins or self._start_twins(), None
        return twins

    def _start_twins(self) -> Figures:
        """Start what says how far two critics, each fitted to every other episode, agree within states of the latest
        round.
        """
        number, policy = self.state.rounds, self.frozen.policy
        draws = self._spread_draws(number)
        fitted = self.processes.start(twin_fits(self.fitting, policy, self.replay.whole, self.settings.seed, number))

        def figures() -> dict[str, float | None]:
            first, second = fitted()
            return {"twin_agreement": agreement(first, second, draws)}

        return figures

    def _replay(self, number: int) -> list[Trajectory]:
        return self.folder.read_replay(number, tuple(self.fitting.sizes))

    def _add(self, number: int, trajectories: list[Trajectory]) -> None:
        """Add round `number` to what is learned from."""
        self._see(number, trajectories)
        episodes = episodes_of(self.frozen.policy, trajectories, self.fitting.values.returns)
        self.replay.append(self.fitting.replay(episodes), len(episodes))

    def _see(self, number: int, trajectories: list[Trajectory]) -> None:
        """Take round `number` for the latest."""
        self.latest = trajectories
        if self.actors:
            drawn = self._policy_draws(number, ROUND_STATES) if number else self._spread_draws(number)
            self.draws = drawn if self.draws is None else joined([self.draws, drawn])

    def _spread_draws(self, number: int) -> PolicyDraws:
        """The draws of the latest round, which has this number, by which critics are scaled and compared."""
        if self.spread_draws is None or self.spread_draws[0] != number:
            self.spread_draws = number, self._policy_draws(number, SPREAD_STATES)
        return self.spread_draws[1]

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
        assert isinstance(models.critic, EnsembleCritic)
        save_checkpoint(self.folder.path, "critic", models.critic, {"kind": "critic", **card})
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


def _steering(models: Models) -> dict[str, nn.Module]:
    """The networks that are learned, of the models that steer."""
    assert isinstance(models.critic, EnsembleCritic)
    return {"critic": models.critic, **models.actors}
