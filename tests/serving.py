"""Decision servers on this machine, in a thread, and clients for them."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from policies.openpi.messages import pack, unpack
from sim_eval.rollout.episodes import Episode, run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import LocalPool
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.serving.batcher import Decide, decide
from sim_eval.serving.options import Limits
from sim_eval.serving.requests import Offer, offered
from sim_eval.serving.server import DecisionServer
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import ToyTask

SAMPLERS: dict[str, dict[str, Any]] = {
    "unsteered": {"_target_": "sim_eval.samplers.Unsteered", "steps": 10},
    "qpilots_u": {"_target_": "sim_eval.samplers.QPilotsU", "strength": None, "steps": 10},
    "value_guided": {"_target_": "sim_eval.samplers.ValueGuided", "strength": 0.5, "steps": 10},
}
LIMITS = Limits()
MODELS = Models(ToyDenoiser(), ToyCritic(), fingerprints={"policy": "abc"})


def toy_offer(models: Models = MODELS) -> Offer:
    return Offer(models, SAMPLERS, offered(models, SAMPLERS, LIMITS.window, LIMITS.samples))


@contextmanager
def running(
    offer: Offer | None = None,
    decides: Callable[[Decide], Decide] = lambda decide: decide,
    limits: Limits | None = None,
    token: str | None = None,
    port: int = 0,
) -> Iterator[int]:
    """A server in a thread; yields its port. `decides` wraps what it decides with."""
    offer = offer or toy_offer()
    server = DecisionServer(offer, decides(functools.partial(decide, offer.models)), limits or LIMITS, token)
    ports: list[int] = []
    ready, loops = threading.Event(), []
    stop = asyncio.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with server.listening("127.0.0.1", port) as found:
            ports.append(found)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield ports[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def connected(port: int, token: str | None = None) -> Iterator[ClientConnection]:
    """A client that has read the handshake."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with connect(
        f"ws://127.0.0.1:{port}", additional_headers=headers, compression=None, max_size=2**26, proxy=None
    ) as socket:
        socket.recv(timeout=20)
        yield socket


def request(row: int = 0, **fields: Any) -> dict[str, Any]:
    """A request to the toy policy."""
    position = np.random.default_rng(row).uniform(-1, 1, 2).astype(np.float32)
    return {"position": position, "seed": row, **fields}


def asked(socket: ClientConnection, message: dict[str, Any] | bytes | str) -> dict[str, Any] | str:
    """The answer to a message: fields, or the text of an error."""
    socket.send(message if isinstance(message, bytes | str) else pack(message))
    answer = socket.recv(timeout=20)
    return answer if isinstance(answer, str) else unpack(answer)


def actions(answer: dict[str, Any] | str) -> np.ndarray:
    assert not isinstance(answer, str), answer
    found: np.ndarray = answer["actions"]
    return found


def episodes(models: Models, sampler: Sampler, count: int = 6, slots: int = 4) -> list[Episode]:
    """Toy episodes, by number."""
    done = run_episodes(LocalPool(ToyTask, slots), episode_keys("toy", 0, count), sampler, models, "toy")
    return sorted(done, key=lambda episode: episode.key.episode)


def assert_same(found: Sequence[Episode], expected: Sequence[Episode]) -> None:
    assert [episode.error for episode in found] == [None] * len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)
        assert (one.success, one.steps, one.q) == (other.success, other.steps, other.q)
