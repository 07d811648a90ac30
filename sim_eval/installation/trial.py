"""A trial of a task and a policy: built as in an evaluation, one decision, and what a run would take."""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from policies.observation import ObservationRequest
from policies.policy import Denoiser
from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.installation.check import Check
from sim_eval.models import build
from sim_eval.models.checkpoints import ROOT
from sim_eval.rollout.environment import Command, Environment, Execute, MakeTask, Ran, Reset, Started
from sim_eval.rollout.episodes import check_fit, one_thread
from sim_eval.rollout.gradients import gradient_of
from sim_eval.rollout.inference import Decider, Decision, PendingDecision, stacked, what_to_observe
from sim_eval.rollout.keys import episode_key
from sim_eval.samplers import Models, QPilotsU, Unsteered
from sim_eval.samplers.denoise import initial_noise
from sim_eval.samplers.sampler import Sampler
from tasks.task import Observation, TaskSpec

Result = TypeVar("Result")

#: Decisions that are timed; the median counts.
_TIMED = 3
#: The run whose time is estimated: the defaults of `sim-eval`.
_EPISODES, _BATCH = 50, 8
#: U's cost does not depend on its strength.
_STRENGTH = 0.1
#: An action at the bounds in more than this share of a chunk, grippers aside, is worth a warning.
_CLIPPED = 0.5
#: Relative and absolute differences of two chunks that rounding explains.
_SAME = (1e-4, 1e-5)


def try_task(task: str, make_task: MakeTask) -> list[Check]:
    """Build the task and start an episode. `task`: its full name. Raises RunError if that fails."""
    with closing(Environment(make_task)) as environment:
        _, check = _start(environment, Reset(episode_key(task, 0, 0), ObservationRequest(())))
        return [check]


def try_policy(
    task: str,
    make_task: MakeTask,
    policy: Component,
    critic: Component | None = None,
    root: Path = ROOT,
    device: str = "auto",
) -> list[Check]:
    """Build the task and the models, make a decision, execute it, and estimate the time of a run.

    The arguments are those of `build_models`. Raises RunError for what cannot be built or does not fit together, and
    for an episode that crashes.
    """
    models = build.build_models(task, policy, critic, Component("default"), frozenset(), root, device)
    build.check_needs("unsteered", Unsteered(), policy.label, models)
    reset = Reset(episode_key(task, 0, 0), what_to_observe(models))
    with one_thread(models.policy), closing(Environment(make_task)) as environment:
        started, built = _start(environment, reset)
        check_fit(started.spec, models)
        pending = PendingDecision(reset.key, 0, started.observation)
        (decision,) = Decider(Unsteered(), models, "unsteered").decide([pending])
        checks = [built, policy_check(policy.label, models, started.observation), decision_check(decision, models)]
        samplers: dict[str, Sampler] = {"unsteered": Unsteered()}
        if isinstance(models.policy, Denoiser):
            other = _reply(environment, dataclasses.replace(reset, key=episode_key(task, 0, 1)), Started)
            checks.append(repeat_check(models.policy, (started.observation, other.observation)))
            checks.append(gradient_check(models.policy, started.observation))
            if models.critic is not None and checks[-1].status == "ok":
                samplers["qpilots_u"] = QPilotsU(_STRENGTH)
        checks += [_latency(name, sampler, models, pending) for name, sampler in samplers.items()]
        rows_s = {name: _row_s(name, sampler, models, pending) for name, sampler in samplers.items()}
        reset_s, step_s = _simulation_s(environment, reset, decision.actions[: models.policy.execute])
    step = Check("ok", "step", f"{1e3 * step_s:.2f} ms a control step, with what the policy observes")
    return [*checks, step, run_check(started.spec, models.policy.execute, rows_s, reset_s, step_s)]


def _start(environment: Environment, reset: Reset) -> tuple[Started, Check]:
    seconds, reply = _timed(lambda: _reply(environment, reset, Started))
    spec = reply.spec
    found = (
        f'{spec.name}: "{spec.instruction}", built and started in {seconds:.1f} s; {spec.max_steps} steps an episode'
    )
    return reply, Check("ok", "task", f"{found} at {spec.control_hz} Hz")


def _reply(environment: Environment, command: Command, kind: type[Result]) -> Result:
    """The environment's reply. Raises RunError for what it reports instead."""
    reply = environment.handle(command)
    if not isinstance(reply, kind):
        raise RunError(getattr(reply, "error", f"the task replied with {reply}"))
    return reply


def policy_check(label: str, models: Models, observation: Observation) -> Check:
    """What the policy is, and the observations that it and the critic read, with their shapes."""
    policy = models.policy
    tier = (
        "Denoiser, every sampler can steer it" if isinstance(policy, Denoiser) else "Policy, unsteered, best_of_n, vgps"
    )
    shapes = ", ".join(
        f"{name} {value.shape}" if isinstance(value, np.ndarray) else name for name, value in observation.items()
    )
    critic = "no critic" if models.critic is None else f"critic {type(models.critic).__name__}"
    return Check("ok", "policy", f"{label}, a {tier}; {critic}; on {policy.device.type}; observes {shapes}")


def decision_check(decision: Decision, models: Models) -> Check:
    """The chunk's shape and the range of each action dimension, in the task's units."""
    actions, policy = decision.actions, models.policy
    ranges = " ".join(f"{low:.2f}..{high:.2f}" for low, high in zip(actions.min(0), actions.max(0), strict=True))
    found = f"chunk {actions.shape}, {policy.execute} actions executed; by dimension {ranges}"
    arm = np.abs(actions[:, :-1]) if actions.shape[1] > 1 else np.abs(actions)
    if (arm > 1).any():
        return Check("warning", "decision", found, "the task clips actions to -1 and 1: check `unnormalise`")
    if (arm == 1).mean() > _CLIPPED:
        advice = "most are clipped at -1 or 1: check `normalisation`, or the units of the policy's actions"
        return Check("warning", "decision", found, advice)
    return Check("ok", "decision", found)


def gradient_check(policy: Denoiser, observation: Observation) -> Check:
    """Whether `clean` can be differentiated in x, which qpilots_u and qpilots_m do at every denoising step."""
    gradient = gradient_of(policy, stacked([observation]))
    return Check("warning" if gradient.advice else "ok", "gradient", gradient.found, gradient.advice)


def repeat_check(policy: Denoiser, observations: tuple[Observation, Observation]) -> Check:
    """Whether `repeat` puts a row's copies side by side, as best_of_n reads them; chunks of two episodes tell."""
    context = policy.repeat(policy.encode(stacked(observations)), 2)
    x = initial_noise(policy, [torch.Generator().manual_seed(0)]).repeat(4, 1, 1)
    with torch.no_grad():
        first, second, third, _ = policy.clean(x, policy.times(10)[5], context)
    if torch.allclose(first, third, *_SAME) and not torch.allclose(first, second, *_SAME):
        advice = "a row's copies are adjacent: `repeat_interleave`, not `repeat`; best_of_n mixes up episodes"
        return Check("warning", "repeat", "row 1 of `repeat` is another row's copy", advice)
    return Check("ok", "repeat", "a row's copies are adjacent")


def _latency(label: str, sampler: Sampler, models: Models, pending: PendingDecision) -> Check:
    decider = Decider(sampler, models, label)
    first, *timed = [decider.latency_ms(pending) for _ in range(1 + _TIMED)]
    return Check("ok", label, f"{statistics.median(timed):.1f} ms a decision ({first:.1f} ms the first)")


def _row_s(label: str, sampler: Sampler, models: Models, pending: PendingDecision) -> float:
    """Seconds a decision in a block of the policy's size."""
    decider = Decider(sampler, models, label)
    seconds, _ = _timed(lambda: decider.decide([pending]))
    return seconds / models.policy.row_block


def _simulation_s(environment: Environment, reset: Reset, actions: np.ndarray) -> tuple[float, float]:
    """Seconds a reset and a control step, measured the second time: the first may compile."""
    for _ in range(2):
        reset_s, _ = _timed(lambda: _reply(environment, reset, Started))
        seconds, ran = _timed(lambda: _reply(environment, Execute(actions), Ran))
    return reset_s, seconds / ran.steps


def run_check(spec: TaskSpec, execute: int, rows_s: Mapping[str, float], reset_s: float, step_s: float) -> Check:
    """The time that a run takes at most, as successes end an episode early.

    rows_s: by sampler, seconds a decision in a batch. reset_s, step_s: seconds a reset and a control step.
    """
    workers = min(len(os.sched_getaffinity(0)), _BATCH)
    simulated = _EPISODES * (reset_s + spec.max_steps * step_s) / workers
    decisions = _EPISODES * math.ceil(spec.max_steps / execute)
    told = ", ".join(f"{_duration(simulated + decisions * row_s)} {name}" for name, row_s in rows_s.items())
    found = f"{_EPISODES} episodes of {spec.max_steps} steps with {workers} workers: about {told}"
    return Check("ok", "run", f"{found}; less where success ends them early, more on busy cores")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result
