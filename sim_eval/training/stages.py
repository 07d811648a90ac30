"""The stages of training a task, in the order in which each needs the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from sim_eval.checkpoints import load_policy
from sim_eval.samplers import Models
from sim_eval.training.collect import demonstrations, policy_rollouts
from sim_eval.training.critic import train_critic
from sim_eval.training.policy import train_policy
from sim_eval.training.posterior import train_posterior
from sim_eval.training.trajectories import Trajectory, read_hdf5, write_hdf5
from sim_eval.training.workspace import Workshop

#: What policies and critics see; public files hold more.
OBSERVATIONS = ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


@dataclass(frozen=True)
class Recipe:
    """How much data and how many optimiser steps each stage takes."""

    demos: int
    sloppy: float
    policy_steps: int
    rollouts: int
    critic_steps: int
    posterior_steps: int
    posterior_samples: int
    batch: int
    families: Sequence[str]
    critic_methods: Sequence[str]
    ship_critic: str  # of the methods, the one that evaluations read by default


def collect_demos(shop: Workshop, recipe: Recipe, workers: int) -> None:
    """Scripted demonstrations of mixed quality to demos.hdf5."""
    trajectories = list(demonstrations(shop.task, shop.make_task, recipe.demos, recipe.sloppy, shop.seed, workers))
    write_hdf5(shop.demos, trajectories, {"env_name": shop.task, "type": 1, "env_kwargs": {}})
    _report(f"{shop.task} demonstrations", trajectories)


def clone_policies(shop: Workshop, recipe: Recipe, workers: int) -> None:
    """Behaviour cloning of one policy a family."""
    trajectories = read_hdf5(shop.demos, OBSERVATIONS)
    for family in recipe.families:
        train_policy(shop, family, trajectories, recipe.policy_steps, recipe.batch)


def roll_out(shop: Workshop, recipe: Recipe, workers: int) -> None:
    """Unsteered rollouts of the first family's frozen policy, which critics and posterior nets learn from."""
    models = Models(load_policy(shop.task, recipe.families[0], shop.checkpoints))
    trajectories = policy_rollouts(shop.task, shop.make_task, models, recipe.rollouts, shop.seed, workers, slots=16)
    write_hdf5(shop.rollouts, trajectories, {"env_name": shop.task, "type": 1, "env_kwargs": {}})
    _report(f"{shop.task} {recipe.families[0]} rollouts", trajectories)


def train_critics(shop: Workshop, recipe: Recipe, workers: int) -> None:
    """One critic a method, on the demonstrations and the rollouts of the first family."""
    demos, rollouts = read_hdf5(shop.demos, OBSERVATIONS), read_hdf5(shop.rollouts)
    for method in recipe.critic_methods:
        names = [f"critic_{method}", *(["critic"] if method == recipe.ship_critic else [])]
        scores = train_critic(
            shop, recipe.families[0], method, names, demos, rollouts, recipe.critic_steps, recipe.batch
        )
        tqdm.write(f"{shop.task} {method} critic, held-out rollouts: {scores}")


def train_posteriors(shop: Workshop, recipe: Recipe, workers: int) -> None:
    """One posterior net a family, each from its own frozen policy alone, in states that rollouts visited."""
    states = read_hdf5(shop.rollouts)
    for family in recipe.families:
        agreed = train_posterior(shop, family, states, recipe.posterior_samples, recipe.posterior_steps, recipe.batch)
        tqdm.write(f"{shop.task} {family} posterior net, in units of the posterior's spread: {agreed}")


Stage = Callable[[Workshop, Recipe, int], None]

STAGES: dict[str, Stage] = {
    "demos": collect_demos,
    "policy": clone_policies,
    "rollouts": roll_out,
    "critic": train_critics,
    "posterior": train_posteriors,
}


def run_stages(names: Sequence[str], shop: Workshop, recipe: Recipe, workers: int) -> None:
    """Run the stages named, one after another. One thread of arithmetic: small products gain nothing from more, and
    results stay the same on machines with other numbers of cores."""
    torch.set_num_threads(1)
    for name in names:
        STAGES[name](shop, recipe, workers)


def _report(what: str, trajectories: Sequence[Trajectory]) -> None:
    success = sum(t.success for t in trajectories)
    steps = sum(len(t.actions) for t in trajectories)
    tqdm.write(f"{what}: {len(trajectories)} episodes, {success} successful, {steps} steps")
