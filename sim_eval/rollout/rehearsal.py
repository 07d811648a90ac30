"""What every episode needs, tried once before the first: the pictures that are asked for, and gradients."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policies.observation import ObservationRequest
from policies.policy import Denoiser
from sim_eval.config.engine import Cluster, Workers
from sim_eval.foundation.errors import ModelError, RunError
from sim_eval.rollout.environment import Execute, Failed, MakeTask, Reset, Started
from sim_eval.rollout.episodes import check_fit, one_thread
from sim_eval.rollout.gradients import gradient_of
from sim_eval.rollout.inference import Decider, PendingDecision, Undecided, attempt, stacked, what_to_observe
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import open_pool
from sim_eval.samplers import QPilotsM, QPilotsU
from sim_eval.samplers.sampler import ACTORS, Models, Sampler
from tasks.task import EpisodeKey, Observation

#: Starts that are tried: one alone may be at fault.
_STARTS = 3


def rehearse(
    task: str, make_task: MakeTask, workers: Workers, samplers: Mapping[str, Sampler], models: Models, block: str
) -> None:
    """Draw what the policy sees, and make a decision with each sampler that takes gradients.

    The task is built only for pictures, and where nobody says the lengths of the vectors. The machines of a cluster
    are not tried: their deciders refuse a model without a gradient. Raises RunError if no episode can start, as without
    a GL library, and ModelError for a model that a sampler cannot differentiate.
    """
    request, steered = what_to_observe(models), gradient_samplers(samplers, models)
    observation = None if request.images else blank(models)
    keys = episode_keys(task, 0, _STARTS, block)
    if (request.images or (steered and observation is None)) and not isinstance(workers, Cluster):
        observation = _first_observation(make_task, workers, keys, request, models)
    if steered and observation is not None:
        try_gradients(steered, models, observation, keys[0])


def warn_of_unpaired_starts(task: str, make_task: MakeTask, workers: Workers, key: EpisodeKey) -> None:
    """Start an episode twice, with a step in between, and tell stderr if the second start is another.

    For tasks that do not promise the same start. A cluster is not tried. Raises RunError if the task cannot be built.
    """
    if isinstance(workers, Cluster):
        return
    hashes = set()
    with open_pool(make_task, min(workers, 1), 1) as pool:
        for _ in range(2):
            reply = pool.exchange({0: Reset(key, ObservationRequest(()))})[0]
            if not isinstance(reply, Started):
                return  # each episode's error says why
            hashes.add(reply.state_hash)
            pool.exchange({0: Execute(np.zeros((1, *reply.spec.action.shape), np.float32))})
    if len(hashes) > 1:
        print(
            f"warning: task {task} starts differently with equal seeds, so that its episodes are unpaired: success "
            "rates hold, and the paired tests leave such episodes out",
            file=sys.stderr,
        )


def gradient_samplers(samplers: Mapping[str, Sampler], models: Models) -> dict[str, Sampler]:
    """Those that may differentiate, and for which there are all models."""
    lacking = set(ACTORS) - models.actors.keys()
    return {
        name: sampler
        for name, sampler in samplers.items()
        if {"denoiser", "critic"} <= sampler.needs and not lacking & sampler.needs
    }


def try_gradients(
    samplers: Mapping[str, Sampler], models: Models, observation: Observation, key: EpisodeKey | None = None
) -> None:
    """Decide once with each; stderr is told of a gradient that looks wrong.

    What else a model raises is no matter here: the observation may be none that the model knows. Raises ModelError.
    """
    waiting = PendingDecision(key or EpisodeKey("", 0, 0, 0), 0, observation)
    with one_thread(models.policy):
        for name, sampler in samplers.items():
            decider = Decider(sampler, models, name)
            outcome = attempt(lambda decider=decider: decider.decide([waiting]))  # type: ignore[misc]
            if isinstance(outcome, Undecided) and isinstance(outcome.error, ModelError):
                raise ModelError(f"sampler {name}: {outcome.error}")
        through = [s for s in samplers.values() if isinstance(s, QPilotsM) or (isinstance(s, QPilotsU) and s.jacobian)]
        if through and isinstance(policy := models.policy, Denoiser):
            found = attempt(lambda: gradient_of(policy, stacked([observation])))
            if not isinstance(found, Undecided) and found.advice:
                print(f"warning: {found.found}; {found.advice}", file=sys.stderr)


def blank(models: Models) -> Observation | None:
    """An observation of zeros, with empty instruction; None if the length of a vector is unknown."""
    request = what_to_observe(models)
    sizes = dict(models.policy.observation_sizes) | (dict(models.critic.observation_sizes) if models.critic else {})
    before = (request.history,) if request.history > 1 else ()
    side = request.image_size
    zeros: dict[str, Any] = {}
    for name in request.names:
        if name == "instruction":
            zeros[name] = ""
        elif name in request.images:
            zeros[name] = np.zeros((*before, side, side, 3), np.uint8)
        elif name in sizes:
            zeros[name] = np.zeros((*before, sizes[name]), np.float32)
        else:
            return None
    return zeros


def _first_observation(
    make_task: MakeTask, workers: int, keys: Sequence[EpisodeKey], request: ObservationRequest, models: Models
) -> Observation:
    """What the policy sees at the first start that there is. Raises RunError if there is none."""
    problem = ""
    with open_pool(make_task, min(workers, 1), 1) as pool:
        for key in keys:
            reply = pool.exchange({0: Reset(key, request)})[0]
            if isinstance(reply, Started):
                check_fit(reply.spec, models)
                return reply.observation
            assert isinstance(reply, Failed)
            problem = reply.error
    raise RunError(f"no episode can start: {problem}")
