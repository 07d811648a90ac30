"""Offline to online for several tasks of one domain at once: one frozen policy, one replay, critics that are stacked.

The tasks share states, chunks and the policy's draws, and differ in their rewards. So one mini-batch serves all, and an
update of all critics takes the kernels of one. Each task plays rounds with its own critic, and all learn from all
episodes: an episode that ends at the goal of its task is one that a time limit cuts for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from critics.growing_replay import GrowingReplay
from critics.stacked import StackedCritic, stacked
from sim_eval.foundation.errors import RunError
from sim_eval.models.build import LoadedPolicies, check_needs
from sim_eval.rollout.brief_engine import BriefEngine
from sim_eval.rollout.rehearsal import rehearse
from sim_eval.samplers import Models, Unsteered
from sim_eval.training import beside_data
from sim_eval.training.beside_data import check_can_draw, check_recorded, kept_draws, training_of
from sim_eval.training.fit_processes import FitProcesses
from sim_eval.training.going_on import GoingOn
from sim_eval.training.kept_draws import KeptDraws
from sim_eval.training.learner import Figures, Learner
from sim_eval.training.online import fitting_of, new_actors, stored
from sim_eval.training.online_fit import CriticFit, episodes_of
from sim_eval.training.online_folder import LearnerState, SharedFolder, open_folder, open_shared
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import Player, steps_of
from sim_eval.training.play_files import TaskRewards, read_shared_play
from sim_eval.training.trajectories import Trajectory
from tasks.ogbench_rewards import REWARDED_BY


def learn_together(tasks: Sequence[LearnOptions], output: Path) -> int:
    """Learn the tasks, whose options are those of `read_learning`; returns the environment steps of each, on average.

    What an earlier run did is not repeated. Raises RunError as `learn`, and for a policy that is another for each task.
    """
    torch.set_num_threads(1)  # as `learn`
    first, names = tasks[0], [settings.task_name for settings in tasks]
    frozen = _frozen(tasks)
    with closing(first.task.factory()()) as probe:
        fitting = fitting_of(first, probe.spec)
        rewarded_by = tuple(name for name in REWARDED_BY if name in probe.spec.observations)
    check_can_draw(first, frozen[0].policy, tuple(fitting.sizes))
    critic = replace(fitting, device=frozen[0].policy.device).new(frozen[0].policy, first.seed)
    models, sampler, name = [replace(own, critic=critic) for own in frozen], first.build_sampler(), first.sampler_name
    for own in models:
        check_needs(name, sampler, first.policy.label, own)
    rehearse(names[0], first.task.factory(), first.workers, {name: sampler}, models[0], "train")
    with ExitStack() as opened:
        shared = opened.enter_context(open_shared(output, names))
        folders = [
            opened.enter_context(open_folder(settings.output, {**stored(settings, own, fitting), "together": names}))
            for settings, own in zip(tasks, frozen, strict=True)
        ]
        rewards = opened.enter_context(closing(TaskRewards([settings.task for settings in tasks])))
        recorded = [episode for path in first.data for episode in read_shared_play(path, rewards)]
        check_recorded(names[0], recorded, fitting.sizes, frozen[0].policy)
        fitting = fitting.measured(frozen[0].policy, recorded)
        members, processes = [], opened.enter_context(FitProcesses(0))
        for settings, own, folder in zip(tasks, frozen, folders, strict=True):
            folder.begin()
            engine = BriefEngine(settings.task.factory(), settings.workers, settings.batch, settings.each)
            player = Player(settings, engine, tuple(dict.fromkeys([*fitting.sizes, *rewarded_by])))
            critic, sampler = fitting.new(own.policy, settings.seed), settings.build_sampler()
            actors = new_actors(settings, sampler, fitting, own)
            members.append(Member(settings, sampler, own, folder, player, processes, fitting, critic, actors))
        return Together(members, shared, rewards, recorded).run()


def _frozen(tasks: Sequence[LearnOptions]) -> list[Models]:
    """The frozen models of each task. Raises RunError if these have not one policy."""
    loaded: LoadedPolicies = {}
    found = []
    for settings in tasks:
        sampler = settings.build_sampler()
        needed = [Unsteered(), *([sampler] if "posterior" in sampler.needs else [])]
        found.append(settings.build_models(needed, loaded))
    prints = [{name: value for name, value in own.fingerprints.items() if name.startswith("policy")} for own in found]
    if any(other != prints[0] for other in prints):
        raise RunError(
            f"policy={tasks[0].policy.label} has other weights for some of {len(tasks)} tasks; accepted to learn them "
            "together: a policy that they share"
        )
    return found


class Member(Learner):
    """One of the tasks: it plays, evaluates and keeps what it plays; its critic comes from the stack."""

    def resume(self) -> None:
        """Go back to what an earlier run has kept."""
        self.state = self.folder.read_state() or LearnerState()
        if self.state.weights:
            self._restore(self.state.weights)

    def see(self, number: int, trajectories: list[Trajectory]) -> None:
        """Take the episodes of round `number` for the latest; 0 are the data."""
        self._see(number, trajectories)

    def play(self, number: int) -> list[Trajectory]:
        """Play round `number`, if that was not done before."""
        self._round(number, self._models())
        return self.read(number)

    def read(self, number: int) -> list[Trajectory]:
        """The episodes of round `number`, with the observations that rewards follow from."""
        return self.folder.read_replay(number, self.player.vectors)

    def has(self, rounds: int) -> bool:
        """Whether it has the critic that was learned from so many rounds."""
        return bool(self.state.weights) and self.state.rounds >= rounds

    def take(
        self, stack: StackedCritic, number: int, figures: Mapping[str, float | None], rounds: int, steps: int
    ) -> None:
        """Steer with the critic of task `number` from now on, which was learned from so many rounds and steps."""
        self.critic = self.fitting.new(self.frozen.policy, self.settings.seed)
        stack.copy_to(self.critic, number)
        self.critic.requires_grad_(False).eval()
        self._finish_fit(rounds, figures)
        self.state.rounds, self.state.steps = rounds, steps
        self._write_state()

    def evaluate(self, ended: bool) -> None:
        """Evaluate if that is due; at the end choose the strength before, and write what is missing after."""
        if ended and self.settings.strengths:
            self._choose_strength()
        self._evaluate_if_due()
        if ended:
            self._mend()

    def _start_twins(self) -> Figures:
        """There are none, as in `BesideData`."""
        return dict


@dataclass
class Together:
    """Plays rounds of all tasks, trains the stack of their critics, evaluates."""

    members: Sequence[Member]
    folder: SharedFolder
    rewards: TaskRewards
    recorded: list[Trajectory]
    state: LearnerState = field(default_factory=LearnerState)
    replay: GrowingReplay = field(default_factory=GrowingReplay)  # of all rounds and tasks

    def run(self) -> int:
        settings = self.settings
        self._learn_from(0, self.recorded)
        for member in self.members:
            member.see(0, self.recorded)
            member.resume()
        earlier = self.folder.read_state()
        if earlier is not None:
            for number in range(1, earlier.rounds + 1):
                self._add(number, [member.read(number) for member in self.members])
            self.state = earlier
            self.training.restore(earlier.weights["training"])
        with tqdm(total=settings.steps, initial=self.state.steps, desc="learning", disable=None) as bar:
            while True:
                self._fit()
                ended = self.state.steps >= settings.steps
                for member in self.members:
                    member.evaluate(ended)
                if ended:
                    return self.state.steps
                number = self.state.rounds + 1
                played = self._add(number, [member.play(number) for member in self.members])
                self.state.rounds, self.state.steps = number, self.state.steps + played // len(self.members)
                bar.update(self.state.steps - bar.n)

    @property
    def settings(self) -> LearnOptions:
        """Those of the first task, from which the others differ in the task alone."""
        return self.members[0].settings

    def _add(self, number: int, played: Sequence[list[Trajectory]]) -> int:
        """Learn from round `number`, the episodes of each task, from now on. Returns their environment steps."""
        shared: list[Trajectory] = []
        for own, (member, episodes) in enumerate(zip(self.members, played, strict=True)):
            of_all = [_with(episode, self.fitting.sizes) for episode in self.rewards.shared(episodes, own)]
            member.see(number, of_all)
            shared += of_all
        self._learn_from(number, shared)
        return steps_of(shared)

    def _learn_from(self, number: int, shared: list[Trajectory]) -> None:
        """Add round `number` to the replay; the rewards of its episodes are of all tasks."""
        episodes = episodes_of(self.members[0].frozen.policy, shared, returns=True)
        self.replay.append(self.fitting.replay(episodes), len(episodes))
        if self.kept is not None:
            self.kept.add(number, shared)

    def _fit(self) -> None:
        """Train up to the updates of this round, and give each task its critic; nothing is done twice."""
        settings, rounds, training = self.settings, self.state.rounds, self.training
        until = settings.offline + rounds * settings.updates
        if training.updates < until:
            training.see(self.replay.whole)
            training.run(until, self._save, beside_data.SAVE_EVERY, f"fit {rounds}")
            self._save()
        stack = training.objective.target
        assert isinstance(stack, StackedCritic)
        if lacking := [number for number, member in enumerate(self.members) if not member.has(rounds)]:
            of_all = training.objective.finish()
            for number in lacking:
                figures = {"loss": training.losses[number], **of_all}
                self.members[number].take(stack, number, figures, rounds, self.state.steps)

    def _save(self) -> None:
        """Keep what training goes on from."""
        self.state.weights = {"training": self.training.state()}
        self.folder.write_state(self.state)

    @property
    def fitting(self) -> CriticFit:
        return self.members[0].fitting

    @cached_property
    def kept(self) -> KeptDraws | None:
        """The policy's draws, if used: the same for all tasks."""
        return kept_draws(self.settings, self.members[0].frozen.policy, self.fitting.device, self.folder)

    @cached_property
    def training(self) -> GoingOn:
        """The critics under training; made when the data are known."""
        alone = self.fitting.new(self.members[0].frozen.policy, self.settings.seed)
        stack = stacked(alone, len(self.members))
        return training_of(self.settings, stack, self.replay.whole, self.fitting.values.backup, self._next_chunks)

    def _next_chunks(self, rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
        assert self.kept is not None
        return self.kept.at(self.training.objective.replay, rows)


def _with(trajectory: Trajectory, vectors: Mapping[str, int]) -> Trajectory:
    """The episode with these observations alone."""
    return replace(trajectory, observations={name: trajectory.observations[name] for name in vectors})
