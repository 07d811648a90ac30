"""The decision server: its answers depend on the request alone, whatever else it is asked and whoever asks."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openpi_client.websocket_client_policy
import pytest
import torch

from benchmarks.picture_policy import PicturePolicy
from policies.openpi import build
from policies.openpi.handshake import read_handshake
from policies.openpi.messages import pack
from policies.policy import Denoiser, Policy
from sim_eval.models.checkpoints import load_policy
from sim_eval.rollout.inference import Decider, PendingDecision
from sim_eval.samplers import BestOfN, Models, QPilotsU, Unsteered, ValueGuided
from sim_eval.samplers.sampler import Sampler
from sim_eval.serving.batcher import Answer, Decide, Failure, decide
from sim_eval.serving.options import Limits
from sim_eval.serving.requests import Offer, Request, offered
from tasks.task import EpisodeKey
from tests.serving import (
    MODELS,
    SAMPLERS,
    actions,
    asked,
    assert_same,
    connected,
    episodes,
    request,
    running,
    toy_offer,
)
from tests.toy_models import ToyCritic, ToyDenoiser, ToyPolicy

UNSTEERED = Unsteered()


def local(row: int, sampler: Sampler = UNSTEERED) -> np.ndarray:
    """The chunk of `request(row)`, drawn here."""
    asked_for = Request(request(row), "local", None, sampler, 1, row, "here")
    return Decider(sampler, MODELS, "local").decide([asked_for])[0].actions


def client(port: int, **options: Any) -> Models:
    return Models(build(f"ws://127.0.0.1:{port}", **options))


def test_served_episodes_equal_local_ones_under_every_sampler() -> None:
    with running() as port:
        assert_same(episodes(client(port), Unsteered()), episodes(Models(MODELS.policy), Unsteered()))
        for sampler, strength, steered in (
            ("qpilots_u", 1.0, QPilotsU(1.0)),
            ("value_guided", 2.0, ValueGuided(2.0)),
            ("value_guided", None, ValueGuided(0.5)),  # the server's own strength
        ):
            expected = [episode.actions for episode in episodes(MODELS, steered)]
            found = [e.actions for e in episodes(client(port, sampler=sampler, strength=strength), Unsteered())]
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_best_of_n_with_a_critic_on_the_clients_side_equals_the_local_one() -> None:
    with running() as port:
        served = Models(client(port).policy, ToyCritic())
        assert_same(episodes(served, BestOfN(n=5)), episodes(MODELS, BestOfN(n=5)))


def test_several_chunks_of_one_request_are_those_of_the_policy() -> None:
    with running() as port, connected(port) as socket:
        answer = asked(socket, request(3, samples=4))
        chunks = actions(answer)
        assert chunks.shape == (4, 4, 2)
        np.testing.assert_array_equal(chunks[0], local(3))
        assert len(np.unique(chunks, axis=0)) == 4
        np.testing.assert_array_equal(actions(asked(socket, request(3, samples=4))), chunks)


def test_many_clients_get_together_what_each_gets_alone() -> None:
    batches: list[int] = []

    def counted(decide: Decide) -> Decide:
        def counting(requests: Sequence[Request]) -> list[Answer | Failure]:
            batches.append(len(requests))
            time.sleep(0.01)  # others arrive meanwhile
            return decide(requests)

        return counting

    steered = {"sampler": "qpilots_u", "strength": 1.0}

    def ask(row: int) -> np.ndarray:
        with connected(port) as socket:
            return np.stack([actions(asked(socket, request(row, **(steered if row % 3 else {})))) for _ in range(5)])

    with running(decides=counted) as port, ThreadPoolExecutor(12) as threads:
        found = list(threads.map(ask, range(12)))
    assert sum(batches) == 60
    assert max(batches) > 1
    for row, chunks in enumerate(found):
        expected = local(row, QPilotsU(1.0) if row % 3 else Unsteered())
        np.testing.assert_array_equal(chunks, np.broadcast_to(expected, chunks.shape))


@pytest.mark.parametrize("model", [PicturePolicy(), ToyPolicy()])
def test_pictures_and_policies_that_only_sample_are_served(model: Policy | Denoiser) -> None:
    rng = np.random.default_rng(0)
    observation: dict[str, Any] = {
        name: ["lift the cube", "open the drawer"]
        if name == "instruction"
        else rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
        if name.endswith("_image")
        else rng.standard_normal((2, 2 if name == "position" else 3)).astype(np.float32)
        for name in model.request.names
    }
    waiting = [
        Request({name: value[row] for name, value in observation.items()}, "x", None, UNSTEERED, 1, row, "here")
        for row in (0, 1)
    ]
    expected = [decision.normalised for decision in Decider(UNSTEERED, Models(model), "x").decide(waiting)]
    only = {"unsteered": SAMPLERS["unsteered"]}
    with running(Offer(Models(model), only, offered(Models(model), only, 16, 64))) as port:
        served = build(f"ws://127.0.0.1:{port}")
        assert served.request == model.request
        chunks = served.sample(observation, [torch.Generator().manual_seed(row) for row in (0, 1)])
        np.testing.assert_array_equal(chunks, expected)
        both = served.sample(observation, [torch.Generator().manual_seed(row) for row in (0, 1)], copies=2)
        np.testing.assert_array_equal(both[::2], expected)


def test_a_request_that_breaks_the_model_fails_alone() -> None:
    offer = toy_offer(Models(ToyDenoiser(), ToyCritic(nan_above=0.5), fingerprints={"policy": "abc"}))
    both = [
        Request({"position": np.array([x, 0], np.float32)}, "qpilots_u", 1.0, QPilotsU(1.0), 1, 0, f"client={number}")
        for number, x in enumerate((0.0, 0.9))
    ]
    answers = decide(offer.models, both)
    assert isinstance(answers[1], Failure)
    assert "critic returned NaN" in answers[1].reason
    assert "client=1" in answers[1].reason
    assert not isinstance(answers[0], Failure)
    np.testing.assert_array_equal(answers[0]["actions"], decide(offer.models, both[:1])[0]["actions"])  # type: ignore[index]


def test_requests_without_a_seed_get_different_noise() -> None:
    with running() as port, connected(port) as socket:
        unseeded = {name: value for name, value in request().items() if name != "seed"}
        first, second = actions(asked(socket, unseeded)), actions(asked(socket, unseeded))
    assert not np.array_equal(first, second)


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
def test_the_clients_of_openpi_itself_are_served() -> None:
    with running(token="sesame") as port:
        theirs = openpi_client.websocket_client_policy.WebsocketClientPolicy(f"ws://127.0.0.1:{port}", api_key="sesame")
        handshake = read_handshake(theirs.get_server_metadata())
        assert (handshake.horizon, handshake.execute, handshake.action_dim) == (4, 3, 2)
        assert list(handshake.samplers) == ["unsteered", "qpilots_u", "value_guided"]
        answer = theirs.infer(request(7))
        np.testing.assert_array_equal(answer["actions"], local(7))
        assert answer["server_timing"]["infer_ms"] > 0
        with pytest.raises(RuntimeError, match=r"refused: sampler.qpilots_u: strength=-1.0"):
            theirs.infer(request(7, sampler="qpilots_u", strength=-1.0))
        np.testing.assert_array_equal(theirs.infer(request(7))["actions"], local(7))


KILLED = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1], proxy=None) as socket:
    socket.send(bytes.fromhex(sys.argv[2]))
    print("sent", flush=True)
    sys.stdin.read()
"""


def test_a_client_killed_during_its_request_costs_the_others_nothing() -> None:
    began, go_on = threading.Event(), threading.Event()

    def held(decide: Decide) -> Decide:
        def holding(requests: Sequence[Request]) -> list[Answer | Failure]:
            began.set()
            assert go_on.wait(20)
            return decide(requests)

        return holding

    with running(decides=held) as port, connected(port) as second, connected(port) as third:
        command = [sys.executable, "-c", KILLED, f"ws://127.0.0.1:{port}", pack(request(1)).hex()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"sent\n"
            assert began.wait(20)  # the models work on its request
            with ThreadPoolExecutor(2) as threads:
                answers = [threads.submit(asked, socket, request(row)) for row, socket in enumerate((second, third), 2)]
                process.send_signal(signal.SIGKILL)
                process.wait(20)
                go_on.set()
                for row, answer in enumerate(answers, 2):
                    np.testing.assert_array_equal(actions(answer.result(20)), local(row))
        np.testing.assert_array_equal(actions(asked(second, request(9))), local(9))


def test_the_command_serves_a_shipped_policy_until_it_is_interrupted() -> None:
    command = [
        sys.executable,
        "-c",
        "from sim_eval.commands import cli; cli.main()",
        "serve",
        "task=lift",
        "port=0",
        "device=cpu",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(ws://127\.0\.0\.1:\d+) serves flow with unsteered\n", line)
        assert found
        served = build(found[1], task="lift")
        with pytest.raises(ValueError, match="serves models of task lift; the task here is can"):
            build(found[1], task="can")
        policy = load_policy("lift", "flow")
        state = {name: np.linspace(-1, 1, size, dtype=np.float32) for name, size in policy.observation_sizes.items()}
        waiting = PendingDecision(EpisodeKey("lift", 0, 0, 5), 0, state)
        torch.testing.assert_close(served.normalisation(), policy.normalisation(), rtol=0, atol=0)
        here, there = (Decider(Unsteered(), Models(model), "x").decide([waiting])[0] for model in (policy, served))
        np.testing.assert_array_equal(there.actions, here.actions)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == "closed\n"
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_one_client_may_send_many_requests_before_it_reads() -> None:
    """As a run with batch=8 does: they are decided together."""
    sizes: list[int] = []

    def counted(decide: Decide) -> Decide:
        def counting(requests: Sequence[Request]) -> list[Answer | Failure]:
            sizes.append(len(requests))
            return decide(requests)

        return counting

    with running(decides=counted, limits=Limits(wait_ms=50)) as port:
        served = build(f"ws://127.0.0.1:{port}")
        positions = np.random.default_rng(0).uniform(-1, 1, (8, 2)).astype(np.float32)
        generators = [torch.Generator().manual_seed(row) for row in range(8)]
        chunks = served.sample({"position": positions}, generators)
    assert chunks.shape == (8, 4, 2)
    assert max(sizes) > 4
