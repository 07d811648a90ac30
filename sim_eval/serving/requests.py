"""Requests: one observation and how to decide on it, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from policies.observation import ObservationRequest
from policies.openpi.handshake import Handshake
from policies.openpi.messages import MessageError, unpack
from sim_eval.errors import RunError
from sim_eval.samplers.sampler import Sampler
from sim_eval.serving.offer import UNSTEERED, Offer
from tasks.task import Observation

_EXTENSIONS = ("seed", "sampler", "strength", "samples")
#: Bytes of a request besides its images: vectors, instruction, names.
_BESIDES_IMAGES = 2**16


class RefusedError(ValueError):
    """A request that is not decided; the message says why in one line."""


@dataclass(frozen=True)
class Request:
    """One observation to decide on: `samples` chunks by `sampler`, called `label`, with noise from `seed`."""

    observation: Observation
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
