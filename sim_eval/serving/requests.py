"""Requests: one observation and how to decide on it, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from policies.observation import ObservationRequest
from policies.openpi.handshake import Handshake
from policies.openpi.messages import MessageError, unpack
from sim_eval.config.samplers import SamplerConfigs, build_sampler
from sim_eval.foundation.errors import RunError
from sim_eval.models.build import build_models, check_needs
from sim_eval.models.options import critic_method
from sim_eval.models.store import ROOT
from sim_eval.models.strengths import SHIPPED, known_strengths
from sim_eval.rollout.inference import what_to_observe
from sim_eval.rollout.rehearsal import blank, gradient_samplers, try_gradients
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.serving.options import ServeOptions

_EXTENSIONS = ("seed", "sampler", "strength", "samples")
#: Bytes of a request besides its images: vectors, instruction, names.
_BESIDES_IMAGES = 2**16


class RefusedError(ValueError):
    """A request that is not decided; the message says why in one line."""


@dataclass(frozen=True)
class Request:
    """One observation to decide on: `samples` chunks by `sampler`, called `label`, with noise from `seed`."""

    observation: Mapping[str, np.ndarray]
    label: str
    strength: float | None
    sampler: Sampler
    samples: int
    seed: int
    origin: str

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def together(self) -> tuple[Any, ...]:
        """Equal for requests that one batch can hold."""
        shapes = [(name, getattr(value, "shape", None)) for name, value in self.observation.items()]
        return self.label, self.strength, self.samples, *shapes


def largest(handshake: Handshake) -> int:
    """The size limit of a request, in bytes."""
    request = handshake.observation
    assert request is not None
    images = sum(name.endswith("_image") for name in request.names)
    return images * request.history * 3 * request.image_size**2 + _BESIDES_IMAGES


def read_request(message: str | bytes, offer: Offer, seed: int, origin: str) -> Request:
    """The request in a message. `seed`: of the noise, if the message has none. Raises RefusedError."""
    if isinstance(message, str):
        raise RefusedError("a request is text; expected bytes")
    try:
        fields = unpack(message)
    except MessageError as error:
        raise RefusedError(f"the request is malformed: {error}") from None
    asked = offer.handshake.observation
    assert asked is not None
    for name in fields:
        if name not in asked.names and name not in _EXTENSIONS:
            raise RefusedError(f"unknown field {name!r:.80}; accepted: {', '.join((*asked.names, *_EXTENSIONS))}")
    observation = {name: _observed(name, fields, asked, offer.handshake.observation_sizes) for name in asked.names}
    label = fields.get("sampler", next(iter(offer.samplers)))
    if label not in list(offer.samplers):
        raise RefusedError(f"sampler is {label!r:.80}; accepted: {', '.join(offer.samplers)}")
    strength = _strength(fields.get("strength"))
    try:
        sampler = offer.sampler(label, strength)
    except RunError as error:
        raise RefusedError(str(error)) from None
    samples = _count("samples", fields.get("samples", 1), 1, offer.handshake.samples if label == UNSTEERED else 1)
    seed = _count("seed", fields.get("seed", seed), 0, 2**64 - 1)
    return Request(observation, label, strength, sampler, samples, seed, origin)


def _observed(name: str, fields: Mapping[str, Any], asked: ObservationRequest, sizes: Mapping[str, int]) -> Any:
    """The observation, of the type that a task gives. Raises RefusedError for any other."""
    if name not in fields:
        raise RefusedError(f"the request lacks {name}; expected: {', '.join(asked.names)}")
    value = fields[name]
    if name == "instruction":
        if not isinstance(value, str):
            raise RefusedError(f"{name} is a {type(value).__name__}; expected text")
        return value
    before = (asked.history,) if asked.history > 1 else ()
    if name.endswith("_image"):
        shape: tuple[int, ...] = (*before, asked.image_size, asked.image_size, 3)
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.shape != shape:
            raise RefusedError(f"{name} is {_shown(value)}; expected uint8 {shape}")
        return value
    size = sizes.get(name)
    if (
        not isinstance(value, np.ndarray)
        or value.dtype.kind not in "fiu"
        or value.ndim != len(before) + 1
        or value.shape[:-1] != before
        or size not in (None, value.shape[-1])
    ):
        raise RefusedError(f"{name} is {_shown(value)}; expected numbers {(*before, size or 'n')}")
    with np.errstate(over="ignore"):
        vector = value.astype(np.float32)
    if not np.isfinite(vector).all():
        raise RefusedError(f"{name} holds NaN or infinity")
    return vector


def _strength(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RefusedError(f"strength is {value!r:.80}; accepted: a finite number")
    return float(value)


def _count(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise RefusedError(f"{name} is {value!r:.80}; accepted: a whole number from {least} to {most}")
    return value


def _shown(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


#: The sampler whose chunks a request may ask several of: a sampler that steers has one result for a seed.
UNSTEERED = "unsteered"


@dataclass(frozen=True)
class Offer:
    """`handshake`: what clients are told. `samplers`: configurations by name; a strength may be None."""

    models: Models
    samplers: SamplerConfigs
    handshake: Handshake

    def sampler(self, name: str, strength: float | None) -> Sampler:
        """The sampler `name`, at its own strength if `strength` is None. Raises RunError for a strength it refuses."""
        config = self.samplers[name]
        if strength is not None and "strength" not in config:
            raise RunError(f"strength is {strength}; sampler {name} takes none")
        return build_sampler(name, config if strength is None else {**config, "strength": strength})


def build_offer(options: ServeOptions) -> Offer:
    """Build the models and samplers that the options name. Raises RunError if they do not fit together."""
    samplers = {
        name: build_sampler(name, {**config, "strength": 0.0} if config.get("strength", 0.0) is None else config)
        for name, config in options.sampler.items()
    }
    needs = frozenset[str]().union(*(sampler.needs for sampler in samplers.values()))
    critic = options.critic if "critic" in needs else None
    root = options.checkpoints or ROOT
    models = build_models(
        options.task.full_name, options.policy, critic, options.posterior, needs, root, options.device
    )
    for name, sampler in samplers.items():
        check_needs(name, sampler, options.policy.label, models)
    if (observation := blank(models)) is not None:
        try_gradients(gradient_samplers(samplers, models), models, observation)
    configs = _with_tuned_strengths(options, models)
    handshake = offered(models, configs, options.limits.window, options.limits.samples)
    # A checkpoint and a critic are for one task; another policy's builder may have made one for any.
    tied = options.policy.target is None or models.critic is not None
    return Offer(models, configs, replace(handshake, task=options.task.full_name if tied else None))


def _with_tuned_strengths(options: ServeOptions, models: Models) -> SamplerConfigs:
    """The samplers' configurations; a missing strength is the one for these models, if there is one."""
    method = critic_method(options.critic, options.task.full_name, options.checkpoints)
    policy = options.policy.label
    tuned = known_strengths(SHIPPED, options.task.full_name, policy, options.critic, options.sampler, method)
    known = {} if tuned.differing(models.fingerprints) else tuned.strengths
    return {
        name: {**config, "strength": known[name]} if config.get("strength", 0.0) is None and name in known else config
        for name, config in options.sampler.items()
    }


def offered(models: Models, samplers: SamplerConfigs, window: int, samples: int) -> Handshake:
    """The handshake of a server with these models, for any task."""
    policy = models.policy
    mean, deviation = policy.normalisation()
    sizes = dict(policy.observation_sizes) | (dict(models.critic.observation_sizes) if models.critic else {})
    return Handshake(
        observation=what_to_observe(models),
        observation_sizes=sizes,
        horizon=policy.horizon,
        execute=policy.execute,
        action_dim=policy.action_dim,
        normalisation=(mean.float().cpu().numpy(), deviation.float().cpu().numpy()),
        samplers={
            name: {"strength": config["strength"]} if "strength" in config else {} for name, config in samplers.items()
        },
        seed=True,
        samples=samples if UNSTEERED in samplers else 1,
        window=window,
        fingerprints=dict(models.fingerprints),
    )
