"""What the decision server refuses, and that nothing it is sent stops it."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import resource
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from benchmarks.picture_policy import PicturePolicy
from policies.openpi.messages import MessageError, pack, unpack
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.samplers.sampler import Models
from sim_eval.serving import server
from sim_eval.serving.batcher import Answer, Decide, Failure
from sim_eval.serving.options import Limits, is_loopback
from sim_eval.serving.requests import RefusedError, Request, largest, read_request
from tests.serving import actions, asked, connected, request, running, toy_offer

TOKEN = "sesame"


class Bomb:
    """Unpickling it is noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("something was unpickled",)


PICKLE = pickle.dumps(Bomb())


def array(data: bytes, dtype: object, shape: Any) -> dict[bytes, Any]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def position(value: Any) -> bytes:
    """A request with this in the place of the position."""
    fields = {**request(), "position": value}
    packed: bytes = msgpack.packb(fields, default=lambda v: array(v.tobytes(), v.dtype.str, v.shape))
    return packed


#: Messages that are no requests.
WRONG: list[bytes | str] = [
    "text",
    b"",
    b"\xc1",
    pack({}),
    msgpack.packb([1, 2]),
    msgpack.packb(None),
    msgpack.packb({1: 2}),
    msgpack.packb({b"position": 1}),
    pack(request()) + b"\x00",
    pack(request(surplus=1)),
    pack(request(sampler="none such")),
    pack(request(sampler=["unsteered"])),
    pack(request(sampler={"a": 1})),
    pack(request(strength=1.0)),  # unsteered takes none
    pack(request(sampler="qpilots_u")),  # needs one
    *(pack(request(sampler="qpilots_u", strength=s)) for s in (-1, float("nan"), float("inf"), True, "1", [1])),
    *(pack(request(seed=s)) for s in (-1, 1.5, "1", None, True, [0])),
    *(pack(request(samples=s)) for s in (0, 65, 2.0, "2", True)),
    pack(request(sampler="value_guided", samples=2)),
    *(position(v) for v in (None, 1.0, "x", b"xxxxxxxx", [0.0, 1.0], {"a": 1}, {})),
    *(position(np.zeros(shape, np.float32)) for shape in ((), (1,), (3,), (1, 2), (2, 1), (0,))),
    *(position(np.array([0, value])) for value in (np.nan, np.inf, -np.inf, 1e300)),
    position(np.zeros(2, bool)),
    *(position(array(PICKLE, dtype, [1])) for dtype in ("|O", "O", "|V8", "<U1", "<c8", "<M8[s]", "f4,O")),
    *(position(array(b"\0" * 8, dtype, [2])) for dtype in ("<f8", "<f2", ">f4", "", "[('a', 'O')]", 7, None)),
    *(
        position(array(b"\0" * 8, "<f4", shape))
        for shape in ([3], [-2], [2.0], [[2]], 2, None, [2] * 99, [2**40, 2**40], [True])
    ),
    position({b"__ndarray__": True}),
    position({b"__npgeneric__": True, b"data": Bomb.__name__, b"dtype": "<f4"}),
    position(msgpack.ExtType(5, b"x" * 40)),
    position(msgpack.Timestamp(0)),
    b"\x81\xa8position" + b"\x91" * 5000,  # nested
    b"\xdd\xff\xff\xff\xff",  # a list of 4 billion entries, it says
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x81\xa8position\xc6\xff\xff\xff\xff",
    b"\xdc\x0f\xff" * 3000,  # lists of 4095 lists
    b"\x82\xa8position\xc0\xa8position\xc0",
    b"\x81\xa8positio\xff\xc0",  # no UTF-8
]


def malformed(count: int, rng: np.random.Generator) -> Iterator[bytes | str]:
    """WRONG, then truncated requests, and random bytes."""
    yield from WRONG
    whole = pack(request(1, sampler="qpilots_u", strength=1.0))
    for number in range(count - len(WRONG)):
        yield whole[: int(rng.integers(len(whole)))] if number % 2 else rng.bytes(int(rng.integers(1, 200)))


def refused_handshake(port: int, headers: dict[str, str]) -> int:
    address = f"ws://127.0.0.1:{port}"
    with pytest.raises(InvalidStatus) as refusal, connect(address, additional_headers=headers, proxy=None):
        pass
    return refusal.value.response.status_code


def noise(port: int, data: bytes) -> bytes:
    """What a peer that speaks no WebSocket is told."""
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        return raw.recv(1000)


def raw_handshake(port: int, header: bytes) -> bytes:
    """The first line of the answer to a handshake with this header."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    with socket.create_connection(("127.0.0.1", port), 20) as raw, raw.makefile("rb") as answer:
        raw.sendall(start + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + header + b"\r\n\r\n")
        return answer.readline()


def oversized(port: int) -> int:
    """The code that the connection is closed with."""
    with connected(port, TOKEN) as client, pytest.raises(ConnectionClosed) as closed:
        asked(client, b"\0" * (largest(toy_offer().handshake) + 1))
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_a_thousand_bad_messages_are_refused_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sim_eval.serving")
    decided: list[Request] = []

    def noted(decide: Decide) -> Decide:
        def noting(requests: Sequence[Request]) -> list[Answer | Failure]:
            decided.extend(requests)
            return decide(requests)

        return noting

    rng, refused = np.random.default_rng(0), Counter[str]()
    with running(decides=noted, token=TOKEN) as port, connected(port, TOKEN) as good:
        expected = actions(asked(good, request(5)))
        with connected(port, TOKEN) as bad:
            for message in malformed(800, rng):
                answer = asked(bad, message)
                assert isinstance(answer, str), (message, answer)
                assert answer.startswith("refused: ")
                assert len(answer.splitlines()) == 1
                assert len(answer) < 400
                refused["malformed"] += 1
        for attempt in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "}):
            for _ in range(20):
                assert refused_handshake(port, attempt) == 401
                refused["unauthenticated"] += 1
        assert raw_handshake(port, b"Authorization: Bearer \xff\xfe").startswith(b"HTTP/1.1 401 ")
        assert refused_handshake(port, {"Authorization": f"Bearer {TOKEN}", "Origin": "http://example.org"}) == 403
        for _ in range(60):
            noise(port, rng.bytes(300))
            refused["noise"] += 1
        for _ in range(60):
            assert oversized(port) == 1009
            refused["oversized"] += 1
        np.testing.assert_array_equal(actions(asked(good, request(5))), expected)
    assert sum(refused.values()) == 1000
    assert [r.seed for r in decided] == [5, 5]
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("sim_eval.serving")]
    assert sum(" refused: " in line for line in lines) == 800 + 80 + 60 + 2
    assert sum("1009" in line for line in lines) == 60
    assert all(line.startswith("127.0.0.1:") and len(line.splitlines()) == 1 for line in lines)
    assert not [record for record in caplog.records if record.exc_info]


def test_pictures_words_and_histories_of_another_kind_are_refused() -> None:
    models = Models(PicturePolicy())
    picture, position = np.zeros((32, 32, 3), np.uint8), np.zeros(3, np.float32)
    names = ("agentview_image", "robot0_eye_in_hand_image")
    good: dict[str, Any] = {**dict.fromkeys(names, picture), "robot0_eef_pos": position, "instruction": "lift"}
    seen_twice = {name: value if isinstance(value, str) else np.stack([value] * 2) for name, value in good.items()}
    offer = toy_offer(models)
    assert read_request(pack(good), offer, 7, "me").seed == 7
    wrong_picture: list[Any] = [picture[:31], picture[..., 0], picture.astype(np.float32), picture.astype(np.int8), "x"]
    for changed in (
        *({names[0]: value} for value in wrong_picture),
        {"instruction": 3},
        {"instruction": picture},
        {"robot0_eef_pos": picture},
        seen_twice,
    ):
        with pytest.raises(RefusedError, match="expected"):
            read_request(pack({**good, **changed}), offer, 0, "me")
    models.policy.request = dataclasses.replace(models.policy.request, history=2)
    offer = toy_offer(models)
    assert read_request(pack(seen_twice), offer, 0, "me").observation[names[0]].shape == (2, 32, 32, 3)
    with pytest.raises(RefusedError, match="expected uint8"):
        read_request(pack(good), offer, 0, "me")


def test_openpis_health_check_needs_no_token() -> None:
    with running(token=TOKEN) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
        assert (answer.status, answer.read()) == (200, b"OK\n")


def test_clients_beyond_the_limit_are_refused_until_one_leaves() -> None:
    with running(limits=Limits(connections=2)) as port, connected(port) as first:
        with connected(port):
            assert refused_handshake(port, {}) == 503
        for _ in range(100):
            try:
                with connected(port) as third:
                    assert actions(asked(third, request())).shape == (4, 2)
                    break
            except InvalidStatus:
                time.sleep(0.05)
        else:
            pytest.fail("the place of the client that left was never free")
        assert actions(asked(first, request())).shape == (4, 2)


def opened(port: int, first: bytes = b"") -> socket.socket:
    """A connection that has sent this much of a handshake."""
    raw = socket.create_connection(("127.0.0.1", port), 20)
    raw.sendall(first)
    return raw


def closed_by_the_server(raw: socket.socket) -> bool:
    try:
        return raw.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_without_a_handshake_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HANDSHAKE_S", 0.3)
    with running() as port, opened(port) as silent, opened(port, b"GET / HTTP/1.1\r\nHost: a\r\n") as half:
        assert closed_by_the_server(silent)
        assert closed_by_the_server(half)
        with connected(port) as good:
            assert actions(asked(good, request())).shape == (4, 2)


def test_a_flood_of_connections_is_refused_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """They would use up the files that a process may open; a client that is connected goes on."""
    with running(limits=Limits(connections=4)) as port, connected(port) as good:
        held = [opened(port) for _ in range(3 + server.SPARE)]
        for _ in range(200):
            with opened(port) as refused:
                assert closed_by_the_server(refused)
        assert actions(asked(good, request())).shape == (4, 2)
        for raw in held:
            raw.close()
        waited(lambda: accepted(port))
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.endswith("refused, as others may be: 36 connections are open") for line in lines) == 1
    assert not [record for record in caplog.records if record.exc_info]


def accepted(port: int) -> bool:
    try:
        with connected(port) as client:
            return actions(asked(client, request())).shape == (4, 2)
    except (ConnectionError, EOFError, InvalidMessage):
        return False


def test_more_clients_than_files_are_refused_before_the_server_listens() -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(RunError, match=f"connections is {allowed}, and this process may open {allowed} files"):
        server.serve(read_command("serve", [f"connections={allowed}"]))


def test_a_client_that_sends_nothing_is_dropped() -> None:
    with (
        running(limits=Limits(idle_s=0.2)) as port,
        connected(port) as silent,
        pytest.raises(ConnectionClosed) as closed,
    ):
        silent.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "idle")


def test_a_client_that_takes_no_answers_is_dropped_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sim_eval.serving")

    def huge(decide: Decide) -> Decide:
        return lambda requests: [{"actions": np.zeros(2**21 if request.seed else 1)} for request in requests]

    with running(decides=huge, limits=Limits(send_s=1.0)) as port, connected(port) as good:
        with connect(
            f"ws://127.0.0.1:{port}", compression=None, max_size=2**26, max_queue=1, close_timeout=0.2, proxy=None
        ) as slow:
            for _ in range(16):
                slow.send(pack(request(1)))
            assert isinstance(asked(good, request()), dict)
            waited(lambda: any("took no answer" in record.getMessage() for record in caplog.records))
        assert isinstance(asked(good, request()), dict)


def waited(happened: Callable[[], bool]) -> None:
    for _ in range(400):
        if happened():
            return
        time.sleep(0.05)
    pytest.fail("it never happened")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_demands_a_token(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIM_EVAL_TOKEN", raising=False)
    assert not is_loopback(host)
    with pytest.raises(RunError, match=f"host is {host}, which other machines can reach, and there is no token"):
        read_command("serve", [f"host={host}"])
    (tmp_path / "token").write_text("from-a-file\n")
    settings = read_command("serve", [f"host={host}", f"token_file={tmp_path / 'token'}"])
    assert settings.token == "from-a-file"
    assert "from-a-file" not in repr(settings)
    monkeypatch.setenv("SIM_EVAL_TOKEN", TOKEN)
    assert read_command("serve", [f"host={host}"]).token == TOKEN


def test_options_that_cannot_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM_EVAL_TOKEN", raising=False)
    assert read_command("serve", []).host == "127.0.0.1"
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    (tmp_path / "empty").write_text("\n")
    for option, told in (
        ("port=70000", "port is 70000; accepted: 0 to 65535"),
        ("wait_ms=-1", "wait_ms is -1; accepted: 0 to 1000"),
        ("batch=0", "batch is 0; accepted: a whole number of at least 1"),
        (f"token_file={tmp_path / 'empty'}", "holds no token"),
        (f"token_file={tmp_path / 'none'}", "cannot be read"),
        ("episodes=3", "unknown option episodes"),
    ):
        with pytest.raises(RunError, match=told):
            read_command("serve", [option])


def test_messages_come_back_as_they_were_and_hold_no_objects() -> None:
    message = {
        "a": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        "b": [1, 2.5, "x", None, True],
        "c": {"d": np.float32(2)},
    }
    found = unpack(pack(message))
    np.testing.assert_array_equal(found["a"], message["a"])
    assert (found["b"], found["c"]) == (message["b"], {"d": 2.0})
    for value in (object(), np.array([Bomb()], dtype=object), np.array(["text"]), {1, 2}):
        with pytest.raises(TypeError):
            pack({"a": value})
    with pytest.raises(MessageError):
        unpack(msgpack.packb([message], default=str))
