"""`policy=openpi`: what it sends, what it makes of the answers, and how episodes end when the server fails."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openpi_client.image_tools
import openpi_client.msgpack_numpy
import pytest
import robosuite.utils.transform_utils
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from policies.observation import ObservationRequest
from policies.openpi import OpenPiPolicy, build, connection
from policies.openpi.observations import axis_angle, resized
from sim_eval.commands.cli import read_command
from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.models.build import build_models
from sim_eval.rollout.episodes import run_episodes
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import LocalPool
from sim_eval.samplers import BestOfN, Models, Unsteered
from tests.serving import MODELS, episodes, running, toy_offer
from tests.toy_models import ToyCritic
from tests.toy_task import ToyTask

Infer = Callable[[dict[str, Any]], Any]
TOY: dict[str, Any] = {"observations": {"state": "position"}, "horizon": 10, "action_dim": 2}


@contextmanager
def openpi_server(infer: Infer, metadata: dict[str, Any] | bytes | str = b"\x80") -> Iterator[str]:
    """A server that speaks openpi's protocol by openpi's own code: an error is a traceback, then the end."""

    def answer(client: ServerConnection) -> None:
        client.send(openpi_client.msgpack_numpy.packb(metadata) if isinstance(metadata, dict) else metadata)
        try:
            while True:
                client.send(
                    openpi_client.msgpack_numpy.packb(infer(openpi_client.msgpack_numpy.unpackb(client.recv())))
                )
        except ConnectionClosed:
            pass
        except RuntimeError as error:
            client.send(f"Traceback (most recent call last):\n  File model.py\nRuntimeError: {error}\n")
            client.close(1011, "Internal server error. Traceback included in previous frame.")

    with serve(answer, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


def homeward(message: dict[str, Any]) -> dict[str, Any]:
    """Ten steps towards the toy's origin."""
    return {"actions": np.tile(-message["state"], (10, 1)), "server_timing": {"infer_ms": 1.0}}


def test_a_request_is_that_of_openpis_libero_example(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[dict[str, Any]] = []

    def infer(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message)
        return {"actions": np.full((12, 7), 0.5)}

    rng = np.random.default_rng(0)
    with openpi_server(infer, {"reset_pose": [0.0], "horizon": "long"}) as address:
        policy = build(address, task="libero_goal")
        assert f"{address} takes no noise seed" in caplog.text
        assert (policy.horizon, policy.execute, policy.action_dim) == (12, 5, 7)
        assert (policy.request.image_size, policy.request.image_orientation) == (256, "rotated")
        picture = rng.integers(0, 256, (1, 256, 256, 3), np.uint8)
        quaternion = rng.standard_normal((1, 4)).astype(np.float32)
        quaternion /= np.linalg.norm(quaternion)
        observation: dict[str, Any] = {
            "agentview_image": picture,
            "robot0_eye_in_hand_image": picture[:, ::-1],
            "robot0_eef_pos": np.array([[1, 2, 3]], np.float32),
            "robot0_eef_quat": quaternion,
            "robot0_gripper_qpos": np.array([[4, 5]], np.float32),
            "instruction": ["open the drawer"],
        }
        assert set(policy.request.names) == set(observation)
        chunk = policy.sample(observation, [torch.Generator()])
    assert chunk.dtype == torch.float32
    np.testing.assert_array_equal(chunk, np.full((1, 12, 7), 0.5, np.float32))
    blank, sent = seen
    names = {"observation/image", "observation/wrist_image", "observation/state", "prompt"}
    assert blank.keys() == sent.keys() == names
    expected = openpi_client.image_tools.resize_with_pad(picture[0], 224, 224)
    np.testing.assert_array_equal(sent["observation/image"], expected)
    assert sent["observation/wrist_image"].shape == blank["observation/image"].shape == (224, 224, 3)
    rotation = robosuite.utils.transform_utils.quat2axisangle(quaternion[0].astype(np.float64))
    np.testing.assert_allclose(sent["observation/state"], [1, 2, 3, *rotation, 4, 5], atol=1e-6)
    assert sent["prompt"] == "open the drawer"


@pytest.mark.parametrize("size", [84, 128, 224, 500])
def test_pictures_are_resized_as_openpis_client_does(size: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    np.testing.assert_array_equal(resized(picture, 224), openpi_client.image_tools.resize_with_pad(picture, 224, 224))


def test_rotation_vectors_are_robosuites() -> None:
    rng = np.random.default_rng(0)
    for q in [*rng.standard_normal((50, 4)), [0, 0, 0, 1], [0, 0, 0, -1], [1, 0, 0, 0], [0, 0, 0, 1.0000001]]:
        quaternion = np.asarray(q) / max(np.linalg.norm(q), 1) if abs(q[3]) < 1 else np.asarray(q, float)
        expected = robosuite.utils.transform_utils.quat2axisangle(quaternion.copy())
        np.testing.assert_allclose(axis_angle(quaternion), expected, atol=1e-12)


def test_a_server_without_seed_is_asked_for_each_copy() -> None:
    noise, asked = np.random.default_rng(0), []

    def infer(message: dict[str, Any]) -> dict[str, Any]:
        asked.append(message)
        return {"actions": homeward(message)["actions"] + 0.3 * noise.standard_normal((10, 2))}

    with openpi_server(infer) as address:
        served = Models(build(address, **TOY), ToyCritic())
        done = episodes(served, BestOfN(n=3), count=2, slots=2)
    assert [episode.error for episode in done] == [None, None]
    assert all(episode.success for episode in done)
    assert len(asked) == 3 * sum(episode.decisions + 1 for episode in done)  # and the one that is timed
    assert asked[0].keys() == {"state"}


def test_an_error_of_the_server_ends_its_episode_alone() -> None:
    def infer(message: dict[str, Any]) -> dict[str, Any]:
        if message["state"][0] > 0.5:
            raise RuntimeError("out of memory")
        return homeward(message)

    with openpi_server(infer) as address:
        done = episodes(Models(build(address, **TOY)), Unsteered(), count=12, slots=4)
    starts = [np.random.default_rng(key.env_seed).uniform(-1, 1, 2)[0] for key in episode_keys("toy", 0, 12)]
    assert any(start > 0.5 for start in starts)
    for episode, start in zip(done, starts, strict=True):
        if start > 0.5:
            assert episode.error == "the server answered: RuntimeError: out of memory"
            assert not episode.success
        else:
            assert episode.error is None
            assert episode.success


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (np.zeros((9, 2)), "actions are (9, 2); expected an array (10, 2)"),
        (np.full((10, 2), np.nan), "actions hold NaN or infinity"),
        (np.full((10, 2), 1.7e308), "actions hold NaN or infinity in float32"),
        (None, "actions are a NoneType"),
    ],
)
def test_an_answer_that_is_no_chunk_is_an_error(actions: object, told: str) -> None:
    with openpi_server(lambda message: {"actions": actions}) as address:
        (done,) = episodes(Models(build(address, **TOY)), Unsteered(), count=1)
    assert done.error is not None
    assert told in done.error


def test_an_answer_that_never_comes_is_an_error() -> None:
    go_on = threading.Event()
    with openpi_server(lambda message: go_on.wait(20)) as address:
        (done,) = episodes(Models(build(address, timeout=0.2, **TOY)), Unsteered(), count=1)
        go_on.set()
    assert done.error == f"the connection to {address} was lost: no answer in 0.2 s"


def test_a_server_that_dies_and_comes_back_costs_the_episodes_in_between() -> None:
    found, keys = [], episode_keys("toy", 0, 6)
    with running() as port:
        models = Models(build(f"ws://127.0.0.1:{port}"))
        expected = episodes(models, Unsteered(), slots=1)
        run = run_episodes(LocalPool(ToyTask, 1), keys, Unsteered(), models, "toy")
        found += [next(run), next(run)]
    found += [next(run), next(run)]
    with running(port=port):
        found += list(run)
    assert [episode.error is None for episode in found] == [True, True, False, False, True, True]
    assert found[2].error == f"no openpi server at ws://127.0.0.1:{port}: [Errno 111] Connection refused"
    for number in (0, 1, 4, 5):
        np.testing.assert_array_equal(found[number].actions, expected[number].actions)


def test_a_server_that_comes_back_with_other_models_is_refused() -> None:
    with running() as port:
        policy = build(f"ws://127.0.0.1:{port}")
    with running(toy_offer(Models(MODELS.policy, MODELS.critic, fingerprints={"policy": "other"})), port=port):
        (done,) = episodes(Models(policy), Unsteered(), count=1)
    assert done.error == f"ws://127.0.0.1:{port} serves other models than when the run began"


def refused(address: str, **options: Any) -> str:
    """What `sim-eval` says of the option policy=openpi with this address."""
    given = {"address": address, **options}
    component = Component("openpi", "policies.openpi:build", given, "policy")
    with pytest.raises(RunError) as error:
        build_models("toy", component, None, Component("default"), frozenset())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_address_without_a_server_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_OPEN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        assert refused(dead) == f"policy=openpi: no openpi server at {dead}: no answer in 0.3 s"
    assert refused(dead) == f"policy=openpi: no openpi server at {dead}: [Errno 111] Connection refused"
    assert "accepted: ws://HOST:PORT" in refused("127.0.0.1:8000")
    assert "no openpi server at ws://" in refused("ws://")
    for greeting, told in (("hello", "it greets with the text 'hello'"), (b"\x01", "not a mapping")):
        with openpi_server(homeward, greeting) as address:
            assert told in refused(address)
    ones = np.ones(2, np.float32)
    for name, value in (
        ("horizon", "long"),
        ("horizon", 10**12),
        ("window", 2**60),
        ("observation_sizes", {"position": 10**12}),
        ("normalisation", [ones, 0 * ones]),
        ("normalisation", [ones * np.nan, ones]),
        ("normalisation", [ones[:1], ones]),
        ("samplers", {"unsteered": {"strength": np.inf}}),
    ):
        with openpi_server(homeward, {"sim_eval": {name: value}}) as address:
            assert f"{name} is " in refused(address)


def test_options_that_the_server_does_not_offer_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with openpi_server(homeward) as address:
        assert f"sampler is qpilots_u; {address} offers no choice of samplers" in refused(address, sampler="qpilots_u")
        assert "strength is 1.0; the server's sampler None takes none" in refused(address, strength=1.0)
        assert "give policy.horizon=NUMBER" in refused(address, observations={"state": "position"})
        assert "execute is 0; accepted" in refused(address, execute=0)
        assert "timeout is never; accepted: a number of seconds above 0" in refused(address, timeout="never")
        assert "strength is high; accepted: a number" in refused(address, strength="high")
        assert "execute is 11; accepted: 1 to the horizon, 10" in refused(address, execute=11, **TOY)
        for parts in (["instruction", "position"], [], 3):
            assert "observations: a is" in refused(address, observations={"a": parts})
    with openpi_server(lambda message: {"actions": np.zeros(7)}) as address:
        assert "a first request, of zeros, gave no chunk of actions (H, D)" in refused(address)
    with running(token="sesame") as port:
        address = f"ws://127.0.0.1:{port}"
        assert refused(address) == f"policy=openpi: {address} wants a token, and not the one given here"
        monkeypatch.setenv("SIM_EVAL_TOKEN", "sesame")
        assert "sampler is nope; " in refused(address, sampler="nope")
        assert "has no strength of its own; give policy.strength=NUMBER" in refused(address, sampler="qpilots_u")
        assert "accepted: no option observations" in refused(address, observations={"a": "b"})
        assert build(address, sampler="qpilots_u", strength=1).request == ObservationRequest(("position",))


def test_options_of_the_command_line_reach_the_builder() -> None:
    observations = "{observation/image: agentview_image, observation/state: [robot0_joint_pos, position]}"
    asked = ["policy=openpi", "policy.address=ws://127.0.0.1:1", f"policy.observations={observations}"]
    component = read_command("evaluate", ["samplers=unsteered", *asked]).policy
    assert component.target == "policies.openpi:build"
    assert component.options["observations"]["observation/state"] == ["robot0_joint_pos", "position"]
    component.check("task", "device")


def test_the_fingerprint_is_that_of_what_the_server_says_of_itself() -> None:
    prints = []
    for metadata in ({"policy": "a"}, {"policy": "b"}, {"policy": "a"}):
        with openpi_server(homeward, metadata) as address:
            prints.append(build(address, **TOY).fingerprint())
    assert prints[0] == prints[2] != prints[1]


def test_a_seed_is_offered_silently(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "policies")
    with running() as port:
        assert isinstance(build(f"ws://127.0.0.1:{port}"), OpenPiPolicy)
    assert not caplog.records


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_not_asked_for_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with openpi_server(homeward) as address:
        assert build(address.replace("127.0.0.1", host), **TOY).horizon == 10
    with pytest.raises(ValueError, match=r"no openpi server at ws://policy.example:8000: .*Connection refused"):
        build("ws://policy.example:8000", **TOY)


def test_a_server_that_sends_huge_numbers_in_a_state_ends_the_episodes_that_reach_it() -> None:
    def infer(message: dict[str, Any]) -> dict[str, Any]:
        return {"actions": np.full((10, 2), 1.7e308)} if message["state"][0] > 0.3 else homeward(message)

    with openpi_server(infer) as address:
        done = episodes(Models(build(address, **TOY)), Unsteered(), count=8, slots=4)
    errors = [episode.error for episode in done if episode.error is not None]
    assert len(done) == 8
    assert 0 < len(errors) < 8
    assert set(errors) == {"the server's actions hold NaN or infinity in float32"}
