"""A server's first message to a client: openpi's any mapping, sim-eval serve one with the key `KEY`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policies.observation import ObservationRequest
from policies.openpi.messages import MessageError

#: Holds what this module reads and writes, apart from what other servers may say.
KEY = "sim_eval"

#: No count or length is larger: a client allocates as much before it has the first answer.
_LARGEST = 100_000


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """The fields that sim-eval serve sends. The defaults hold for servers that send none, as openpi's.

    observation: what a request holds, by the names of this suite; None: unknown. observation_sizes: lengths of its
        vectors, as far as they are known.
    horizon, execute, action_dim: H, h and D as in `FrozenPolicy`; None: unknown.
    normalisation: mean and standard deviation (D,) of the actions; an answer then also holds the normalised chunk.
    samplers: the samplers that a request may name, the default first, each with {"strength": default} if it has a
        strength. A default of None: the request must hold one.
    seed: whether a request may hold the noise seed. samples: how many chunks of the frozen policy it may ask for.
    window: how many requests a client may send before it reads the first answer.
    task: the task that the models are for; None: any.
    fingerprints: role ("policy", "critic", ...) to SHA-256.
    """

    observation: ObservationRequest | None = None
    observation_sizes: Mapping[str, int] = field(default_factory=dict)
    horizon: int | None = None
    execute: int | None = None
    action_dim: int | None = None
    normalisation: tuple[np.ndarray, np.ndarray] | None = None
    samplers: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    seed: bool = False
    samples: int = 1
    window: int = 1
    task: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """The fields as a server's first message; those that are None are left out."""
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        if self.observation is not None:
            fields["observation"] = dataclasses.asdict(self.observation)
        return {KEY: {name: value for name, value in fields.items() if value is not None}}


def read_handshake(message: Mapping[str, Any]) -> Handshake:
    """The offer of a server's first message. Raises MessageError for a field of a wrong type."""
    fields = message.get(KEY, {})
    if not isinstance(fields, dict):
        raise MessageError(f"{KEY} is {fields!r:.80}; expected a mapping")
    found: dict[str, Any] = {}
    for name, (fits, kind) in _KINDS.items():
        if fields.get(name) is not None:
            if not fits(fields[name]):
                raise MessageError(f"{name} is {fields[name]!r:.80}; expected {kind}")
            found[name] = fields[name]
    if "observation" in found:
        try:
            found["observation"] = ObservationRequest(**found["observation"])
        except (TypeError, ValueError) as error:
            raise MessageError(f"observation: {error}") from None
    return Handshake(**found)


def _whole(value: object) -> bool:
    return type(value) is int and 1 <= value <= _LARGEST


def _text(value: object) -> bool:
    return isinstance(value, str)


def _mapping_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(key, str) and fits(entry) for key, entry in value.items())
    )


def _number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _mean_and_deviation(value: object) -> bool:
    if not (isinstance(value, list) and len(value) == 2):
        return False
    if not all(
        isinstance(v, np.ndarray) and v.ndim == 1 and v.dtype.kind == "f" and np.isfinite(v).all() for v in value
    ):
        return False
    mean, deviation = value
    return len(mean) == len(deviation) and bool((deviation > 0).all())


_COUNT = f"a whole number of 1 to {_LARGEST}"

#: By field: whether a value fits, and what is expected.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "observation": (_mapping_of(lambda value: True), "a mapping"),
    "observation_sizes": (_mapping_of(_whole), f"a mapping of names to {_COUNT}"),
    "horizon": (_whole, _COUNT),
    "execute": (_whole, _COUNT),
    "action_dim": (_whole, _COUNT),
    "normalisation": (_mean_and_deviation, "two vectors of finite numbers, the second above 0"),
    "samplers": (_mapping_of(_mapping_of(_number_or_none)), "a mapping of names to mappings"),
    "seed": (lambda value: isinstance(value, bool), "true or false"),
    "samples": (_whole, _COUNT),
    "window": (_whole, _COUNT),
    "task": (_text, "text"),
    "fingerprints": (_mapping_of(_text), "a mapping of names to text"),
}
