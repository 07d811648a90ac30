"""A policy that runs on a server: openpi's, another one that speaks its protocol, or sim-eval serve."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from policies.openpi.connection import Connection, NoAnswer, ServerError
from policies.openpi.handshake import Handshake
from policies.openpi.messages import pack
from policies.openpi.observations import LIBERO, MessageMap
from policies.openpi.token import read_token
from policies.policy import Observations, Policy, UndecidedError

#: Actions executed of each chunk, unless the server says otherwise: as in openpi's LIBERO example.
_EXECUTE = 5


class OpenPiPolicy(Policy):
    """Draws chunks by asking a server, one request for each row and copy. Built by `build`.

    `fixed`: fields of every request, such as the sampler. Raises ServerError if the server refuses the first request.
    """

    row_block: ClassVar[int] = 1

    def __init__(
        self,
        connection: Connection,
        observations: MessageMap,
        request: ObservationRequest,
        execute: int | None,
        shape: tuple[int | None, int | None],
        fixed: Mapping[str, Any],
    ) -> None:
        self._connection, self._map, self._fixed = connection, observations, dict(fixed)
        self.request, offered = request, connection.handshake
        self.observation_sizes, self.repeatable = dict(offered.observation_sizes), offered.seed
        horizon, action_dim = offered.horizon or shape[0], offered.action_dim or shape[1]
        if horizon is None or action_dim is None:
            horizon, action_dim = self._ask_shape()
        self.horizon, self.action_dim = horizon, action_dim
        self.execute = execute or min(offered.execute or _EXECUTE, horizon)
        self._copies_at_once = offered.samples if _is_unsteered(fixed.get("sampler"), offered.samplers) else 1

    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        """Raises UndecidedError for rows that the server gave no chunk for."""
        several = 1 < copies <= self._copies_at_once
        requests = [
            {**self._map.message(observation, row), **self._fixed, **self._noise(generator, copy)}
            | ({"samples": copies} if several else {})
            for row, generator in enumerate(generators)
            for copy in range(1 if several else copies)
        ]
        chunks = [self._chunks(answer, copies if several else 1) for answer in self._connection.exchange(requests)]
        each = len(requests) // len(generators)
        reasons = {at // each: chunk.reason for at, chunk in enumerate(chunks) if isinstance(chunk, NoAnswer)}
        if reasons:
            raise UndecidedError(reasons)
        return torch.from_numpy(np.concatenate([chunk for chunk in chunks if not isinstance(chunk, NoAnswer)]))

    def normalisation(self) -> tuple[Tensor, Tensor]:
        if self._connection.handshake.normalisation is None:
            return super().normalisation()
        mean, deviation = (torch.tensor(vector) for vector in self._connection.handshake.normalisation)
        return mean, deviation

    def fingerprint(self) -> str:
        """A digest of what the server says of itself, which sim-eval serve's fingerprints of its models are part of."""
        return hashlib.sha256(pack(self._connection.metadata)).hexdigest()

    def _noise(self, generator: torch.Generator, copy: int) -> dict[str, int]:
        """The seed of the row's generator, so that the server's is equal; further copies get seeds of their own."""
        if not self._connection.handshake.seed:
            return {}
        seed = generator.initial_seed()
        return {"seed": int(np.random.SeedSequence([seed, copy]).generate_state(1, np.uint64)[0]) if copy else seed}

    def _chunks(self, answer: dict[str, Any] | NoAnswer, samples: int) -> np.ndarray | NoAnswer:
        """The normalised chunks (samples, H, D) of an answer, or what is wrong with it."""
        if isinstance(answer, NoAnswer):
            return answer
        name = "actions" if self._connection.handshake.normalisation is None else "normalised"
        actions = answer.get(name)
        shape = (self.horizon, self.action_dim) if samples == 1 else (samples, self.horizon, self.action_dim)
        if not isinstance(actions, np.ndarray) or actions.shape != shape:
            found = getattr(actions, "shape", f"a {type(actions).__name__}")
            return NoAnswer(f"the server's {name} are {found}; expected an array {shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            chunks = actions.reshape(samples, self.horizon, self.action_dim).astype(np.float32)
        if not np.isfinite(chunks).all():
            return NoAnswer(f"the server's {name} hold NaN or infinity in float32")
        return chunks

    def _ask_shape(self) -> tuple[int, int]:
        """H and D of the answer to a request of zeros."""
        message = {**self._map.message(self._map.blank(self.request), 0), **self._fixed}
        (answer,) = self._connection.exchange([message])
        actions = answer.reason if isinstance(answer, NoAnswer) else answer.get("actions")
        if not isinstance(actions, np.ndarray) or actions.ndim != 2 or not actions.size:
            found = actions if isinstance(actions, str) else f"its actions are {getattr(actions, 'shape', 'missing')}"
            raise ServerError(f"a first request, of zeros, gave no chunk of actions (H, D): {found}")
        return actions.shape[0], actions.shape[1]


def build(
    address: str,
    observations: Mapping[str, Any] | None = None,
    image_size: int = 224,
    render_size: int = 256,
    image_orientation: str = "rotated",
    execute: int | None = None,
    horizon: int | None = None,
    action_dim: int | None = None,
    sampler: str | None = None,
    strength: float | None = None,
    token_file: str | None = None,
    timeout: float = 600.0,
    task: str | None = None,
) -> OpenPiPolicy:
    """Connect to the server at `address`, "ws://HOST:PORT".

    observations: the server's names, each with a name of this suite or a list of vectors that are joined; None: what
        the server asks for, else those of openpi's LIBERO example.
    image_size: of the images sent; render_size, image_orientation: how they are drawn. A server that asks for
        observations gets them as it asks.
    execute: actions executed of each chunk; None: what the server says, else 5.
    horizon, action_dim: the shape of a chunk; None: what the server says or its first answer shows.
    sampler, strength: how sim-eval serve draws; None: its defaults.
    token_file: file of the token that the server demands; None: the environment variable SIM_EVAL_TOKEN.
    timeout: longest wait for an answer, in seconds.

    Warns if the server takes no seed. Raises ValueError for an option that the server does not offer, and for a server
    that cannot be reached.
    """
    if not isinstance(address, str) or not address.startswith(("ws://", "wss://")):
        raise ValueError(f"address is {address}; accepted: ws://HOST:PORT or wss://HOST:PORT")
    _check_numbers(timeout, strength)
    sizes = {"image_size": image_size, "render_size": render_size}
    _check_whole({**sizes, "execute": execute, "horizon": horizon, "action_dim": action_dim})
    try:
        connection = Connection(address, read_token(token_file), timeout)
        offered = connection.handshake
        if offered.task is not None and task is not None and offered.task != task:
            raise ValueError(f"{address} serves models of task {offered.task}; the task here is {task}")
        message_map = _message_map(offered, observations, image_size)
        policy = OpenPiPolicy(
            connection,
            message_map,
            offered.observation or message_map.request(render_size, image_orientation),
            execute,
            (horizon, action_dim),
            _steering(address, offered.samplers, sampler, strength),
        )
    except ServerError as error:
        raise ValueError(str(error)) from None
    if not offered.seed:
        logging.getLogger(__name__).warning(
            "%s takes no noise seed: the starts of the episodes are paired, the policy's noise is not", address
        )
    return policy


def _message_map(offered: Handshake, observations: Mapping[str, Any] | None, image_size: int) -> MessageMap:
    """The map of the server's request, or else of the option `observations`. Raises ValueError if both are given."""
    if offered.observation is None:
        return MessageMap(_sources(LIBERO if observations is None else observations), image_size)
    if observations is not None:
        raise ValueError("the server asks for its observations itself; accepted: no option observations")
    return MessageMap({name: (name,) for name in offered.observation.names}, offered.observation.image_size)


def _check_numbers(timeout: object, strength: object) -> None:
    """Raise ValueError for what is no number."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"timeout is {timeout}; accepted: a number of seconds above 0")
    if strength is not None and (isinstance(strength, bool) or not isinstance(strength, int | float)):
        raise ValueError(f"strength is {strength}; accepted: a number")


def _check_whole(options: Mapping[str, object]) -> None:
    """Raise ValueError for the first option that is neither None nor a whole number of at least 1."""
    for name, value in options.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} is {value}; accepted: a whole number of at least 1")


def _steering(
    address: str, offered: Mapping[str, Mapping[str, float | None]], sampler: str | None, strength: float | None
) -> dict[str, Any]:
    """The fields of a request that choose the sampler. Raises ValueError for one that the server does not offer."""
    if sampler is not None and sampler not in offered:
        raise ValueError(f"sampler is {sampler}; {address} offers {', '.join(offered) or 'no choice of samplers'}")
    name = sampler or next(iter(offered), None)
    takes = {} if name is None else offered[name]
    if strength is not None and "strength" not in takes:
        raise ValueError(f"strength is {strength}; the server's sampler {name} takes none")
    if strength is None and takes.get("strength", 0.0) is None:
        raise ValueError(f"the server's sampler {name} has no strength of its own; give policy.strength=NUMBER")
    fields = {"sampler": sampler, "strength": None if strength is None else float(strength)}
    return {name: value for name, value in fields.items() if value is not None}


def _sources(observations: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The option `observations`, a name as a list of one. Raises ValueError for anything but names."""
    found = {}
    for name, parts in observations.items():
        listed = [parts] if isinstance(parts, str) else parts
        if not isinstance(listed, list | tuple) or not all(isinstance(part, str) for part in listed):
            raise ValueError(f"observations: {name} is {parts!r}; accepted: a name or a list of names")
        found[str(name)] = tuple(listed)
    return found


def _is_unsteered(sampler: object, offered: Mapping[str, Any]) -> bool:
    """Whether requests are answered with chunks of the frozen policy, of which a request may ask for several."""
    return (sampler or next(iter(offered), None)) == "unsteered"
