"""The stages of training a task; each needs those before it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from critics.backup import OWN, Backup
from policies.policy import Denoiser
from sim_eval.config.components import Component
from sim_eval.config.engine import Workers
from sim_eval.foundation.errors import RunError
from sim_eval.models import store
from sim_eval.models.build import build_models, offers_features
from sim_eval.samplers import Models
from sim_eval.training.collect import STATE, demonstrations, policy_rollouts, state_of
from sim_eval.training.critic import CriticRecipe, critic_inputs, train_critic
from sim_eval.training.draws import check_draws_vary
from sim_eval.training.outcomes import said_of_scores, warning
from sim_eval.training.play_files import read_play
from sim_eval.training.policy import Cloning, train_policy
from sim_eval.training.posterior import PosteriorRecipe, train_posterior
from sim_eval.training.resumable import play_to
from sim_eval.training.trajectories import Trajectory, policy_of, read_hdf5
from sim_eval.training.workspace import Workspace, file_hashes


@dataclass(frozen=True)
class Recipe:
    """How much data and how many optimiser steps each stage uses.

    `policies`: the policies that critics and posterior nets are for. Critics learn from rollouts of the first; each
    gets a posterior net. A policy `from_outside` is a user's own or one for all tasks: it is rolled out as it is.
    `families`: those of the policies that are trained here, in the same order.
    """

    policies: Sequence[Component]
    families: Sequence[str]
    demos: int
    sloppy: float
    policy_steps: int
    rollouts: int
    critic_steps: int
    posterior_steps: int
    posterior_samples: int
    batch: int
    critic_methods: Sequence[str]
    ship_critic: str  # of the methods, the one that evaluations read by default
    policy_size: Mapping[str, int] = field(default_factory=dict)  # fields of PolicyConfig
    critic_size: Mapping[str, int] = field(default_factory=dict)  # fields of CriticConfig
    backup: Backup = OWN
    play: Path | None = None  # OGBench's play, which policies are cloned from instead of demonstrations
    critic_inputs: str = "state"
    critic_demos: Sequence[Path] = ()  # beside the rollouts
    device: str = "auto"
    from_outside: bool = False


def collect_demos(workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """Scripted demonstrations of mixed quality to demos.hdf5."""
    play = partial(
        demonstrations,
        task=workspace.task,
        make_task=workspace.make_task,
        episodes=recipe.demos,
        sloppy=recipe.sloppy,
        seed=workspace.seed,
        workers=workers,
    )
    origin = {"task": workspace.task_options, "seed": workspace.seed, "sloppy": recipe.sloppy}
    play_to(workspace.demos, workspace.task, recipe.demos, play, origin)
    _tell(workspace, workspace.demos, "demonstrations")


def clone_policies(workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """Behaviour cloning of one policy a family."""
    if recipe.play is None:
        data, trajectories = workspace.demos, read_hdf5(workspace.demos, STATE, workspace.task)
    else:
        data, trajectories = recipe.play, read_play(recipe.play)
    cloning = Cloning(recipe.policy_size, recipe.policy_steps, recipe.batch)
    for family in recipe.families:
        train_policy(workspace, family, cloning, trajectories, data)


def roll_out(workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """Unsteered rollouts of the first frozen policy, which critics and posterior nets learn from."""
    label, models = recipe.policies[0].label, _models(workspace, recipe, recipe.policies[0])
    spec = workspace.read_spec()
    state, rewarded = state_of(spec), spec.reward_range is not None
    play = partial(
        policy_rollouts,
        task=workspace.task,
        make_task=workspace.make_task,
        models=models,
        state=state,
        episodes=recipe.rollouts,
        seed=workspace.seed,
        workers=workers,
        rewarded=rewarded,
    )
    origin = {"task": workspace.task_options, "seed": workspace.seed, "fingerprints": models.fingerprints}
    path = workspace.rollouts(label)
    play_to(path, workspace.task, recipe.rollouts, play, origin, models.fingerprints["policy"])
    _tell(workspace, path, f"{label} rollouts")


def train_critics(workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """One critic a method, on the rollouts of the first policy and the demonstrations."""
    first = recipe.policies[0]
    models = _models(workspace, recipe, first)
    path = workspace.rollouts(first.label)
    rollouts = _read_rollouts(path, first.label, models)
    check_draws_vary(models.policy, first.label, rollouts, workspace.seed)
    if (told := warning(f"rollouts in {path}", rollouts, "rollouts=N")) is not None:
        tqdm.write(told)
    shown = recipe.critic_demos or ([workspace.demos] if recipe.demos else [])
    demos = [
        trajectory for file in shown for trajectory in read_hdf5(file, list(rollouts[0].observations), workspace.task)
    ]
    data = file_hashes([*shown, path])
    read = critic_inputs(models, recipe.critic_inputs, [*demos, *rollouts])
    several_policies = workspace.variant is not None or (recipe.from_outside and first.target is None)
    name = store.critic_of(first.label) if several_policies else store.CRITIC
    rewards = None if rollouts[0].rewards is None else workspace.read_spec().reward_range
    for method in recipe.critic_methods:
        several = [f"{name}_{method}"] if len(recipe.critic_methods) > 1 else []
        names = [*several, *([name] if method == recipe.ship_critic else [])]
        how = CriticRecipe(
            method,
            recipe.critic_inputs,
            recipe.critic_steps,
            recipe.batch,
            recipe.critic_size,
            recipe.backup,
            rewards,
        )
        scores, held_out = train_critic(workspace, models, how, names, demos, rollouts, read, data)
        saved = " and ".join(str(store.weights(workspace.folder, name)) for name in names)
        tqdm.write(f"{workspace.task} {method} critic in {saved}")
        tqdm.write(f"  on {len(held_out)} held-out rollouts: {said_of_scores(scores, held_out)}")
    used = f"sim-eval evaluate critic={shlex.quote(str(workspace.folder))}"
    tqdm.write(f"to use the checkpoint {name}: {used}, with the same task, policy and checkpoints")


def train_posteriors(workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """One posterior net a policy, each from its own frozen policy alone, in states that rollouts visited."""
    first = recipe.policies[0]
    path = workspace.rollouts(first.label)
    models = _models(workspace, recipe, first)
    states = _read_rollouts(path, first.label, models)
    for policy in recipe.policies:
        models = models if policy is first else _models(workspace, recipe, policy)
        how = PosteriorRecipe(recipe.posterior_samples, recipe.posterior_steps, recipe.batch)
        agreed = train_posterior(
            workspace,
            policy.label,
            _teacher(models, policy.label),
            models.fingerprints["policy"],
            how,
            states,
            file_hashes([path]),
        )
        tqdm.write(f"{workspace.task} {policy.label} posterior net, in units of the posterior's spread: {agreed}")


Stage = Callable[[Workspace, Recipe, Workers], None]

STAGES: dict[str, Stage] = {
    "demos": collect_demos,
    "policy": clone_policies,
    "rollouts": roll_out,
    "critic": train_critics,
    "posterior": train_posteriors,
}


def run_stages(names: Sequence[str], workspace: Workspace, recipe: Recipe, workers: Workers) -> None:
    """Run the named stages in order.

    torch uses one thread: small products gain nothing from more, and results do not depend on the number of cores.
    Raises RunError, before anything is played, if a posterior net cannot be distilled from a policy from outside.
    """
    torch.set_num_threads(1)
    if "posterior" in names and recipe.from_outside:  # before the stages that take long
        for policy in recipe.policies:
            _teacher(_models(workspace, recipe, policy), policy.label)
    for name in names:
        STAGES[name](workspace, recipe, workers)


def _models(workspace: Workspace, recipe: Recipe, policy: Component) -> Models:
    posterior = Component("default")
    return build_models(
        workspace.task, policy, None, posterior, frozenset(), root=workspace.checkpoints, device=recipe.device
    )


def _teacher(models: Models, label: str) -> Denoiser:
    """The policy, as a posterior net is distilled from it. Raises RunError if none can be."""
    if not isinstance(models.policy, Denoiser) or not offers_features(models.policy):
        raise RunError(
            f"stage is posterior, and policy {label} is no Denoiser with features, which a posterior net is "
            "distilled from; accepted for it: stage=rollouts,critic, and posterior=flow at evaluation"
        )
    return models.policy


def _read_rollouts(path: Path, label: str, models: Models) -> list[Trajectory]:
    """The rollouts of the policy called `label`. Raises RunError if another one played them; files that do not name
    their policy are taken as they are.
    """
    played_by, policy = policy_of(path), models.fingerprints["policy"]
    if played_by not in (None, policy):
        raise RunError(
            f"{path} holds rollouts of policy {played_by}, and policy {label} is now {policy}; accepted: its own "
            "rollouts (stage=rollouts plays them), or another data=DIR"
        )
    return read_hdf5(path)


def _tell(workspace: Workspace, path: Path, what: str) -> None:
    """Say how many episodes the file holds, and where it is."""
    played = read_hdf5(path, observations=())
    successes, steps = sum(episode.success for episode in played), sum(len(episode.actions) for episode in played)
    tqdm.write(f"{workspace.task} {what}: {len(played)} episodes, {successes} successful, {steps} steps, in {path}")
