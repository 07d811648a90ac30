"""The page's server: what it finds, filters, refreshes and refuses."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from benchmarks import made_run
from sim_eval.commands.cli import read_command
from sim_eval.runs.run_folder import lock
from sim_eval.runs.videos import update_index
from sim_eval.video.encode import write_video
from sim_eval.video.episode_video import write_sheet
from sim_eval.view import connections, entry
from sim_eval.view.catalog import Catalog
from sim_eval.view.entry import Videos
from tests import hostile_runs, test_learning_curves
from tests.view_server import serving

#: Far more than reading these folders takes.
LONG = 60.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, one of them with a video and a run that is not finished, and a learner."""
    root = tmp_path_factory.mktemp("runs")
    made_run.write(root / "can", "can", {"unsteered": [0, 1, 0], "qpilots_u": [1, 1, 0]})
    made_run.write(root / "deeper" / "lift", "lift", {"unsteered": [0, 1], "best_of_n": [1, 1]}, {"episodes": 5})
    test_learning_curves.write(root / "learned", {0: [0, 1], 120: [1, 1]})
    video = root / "films" / "a film.mp4"
    write_video(video, [np.zeros((32, 32, 3), np.uint8)] * 4, fps=20)
    update_index(root / "can", {video: (("qpilots_u", 1),)})
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield address


def get(address: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, content and headers."""
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode(errors="replace"), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def view(address: str, query: str = "") -> dict[str, Any]:
    """The answer to a query, once every folder is read."""
    while True:
        status, content, _ = get(f"{address}/view.json?{query}")
        assert status == 200, content
        answer: dict[str, Any] = json.loads(content)
        if not answer["reading"]:
            return answer


def test_every_run_folder_is_found(address: str) -> None:
    runs = {run["name"]: run for run in view(address)["runs"]}
    assert set(runs) == {"can", "deeper/lift", "learned"}
    assert [runs[name]["state"] for name in ("can", "deeper/lift", "learned")] == ["ended", "unfinished", "ended"]
    assert (runs["can"]["done"], runs["can"]["asked"]) == (6, 6)
    assert (runs["deeper/lift"]["done"], runs["deeper/lift"]["asked"]) == (4, 10)
    assert runs["can"]["shares"][1] == {"sampler": "qpilots_u", "successes": 2, "episodes": 3, "errors": 0}
    assert runs["learned"]["shares"] == [{"sampler": "qpilots_u", "successes": 2, "episodes": 2, "errors": 0}]
    assert runs["learned"]["done"] == 120


@pytest.mark.parametrize(
    ("query", "runs", "episodes"),
    [
        ("", 3, 10),
        ("task=can", 2, 6),
        ("policy=flow", 3, 10),
        ("policy=other", 0, 0),
        ("sampler=unsteered", 2, 5),
        ("state=unfinished", 1, 4),
        ("text=deeper+best", 1, 4),
        ("text=deeper+qpilots", 0, 0),
        ("outcome=failure", 3, 4),
        ("outcome=error", 3, 0),
        ("sampler=qpilots_u&outcome=success", 2, 2),
        ("episode=2", 3, 2),
        ("video=yes", 3, 1),
    ],
)
def test_filters_of_runs_and_episodes(address: str, query: str, runs: int, episodes: int) -> None:
    answer = view(address, query)
    assert (answer["found_runs"], answer["found_episodes"]) == (runs, episodes)
    assert (len(answer["runs"]), len(answer["episodes"])) == (runs, episodes)
    assert (answer["all_runs"], answer["all_episodes"]) == (3, 10)


def test_no_more_episodes_come_than_are_asked_for(address: str) -> None:
    answer = view(address, "count=3")
    assert (len(answer["episodes"]), answer["found_episodes"]) == (3, 10)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("smell=x", "unknown parameter smell; accepted: text, task,"),
        ("outcome=x", "outcome is x; accepted: success, failure, error"),
        ("count=-1", "count is -1; accepted: a whole number"),
        ("episode=a", "episode is a; accepted: a whole number"),
    ],
)
def test_other_queries_are_refused(address: str, query: str, said: str) -> None:
    status, content, _ = get(f"{address}/view.json?{query}")
    assert status == 400
    assert content.startswith(said)


def test_a_video_is_served_and_seekable(address: str, root: Path) -> None:
    (video,) = [episode["video"] for episode in view(address, "video=yes")["episodes"]]
    assert video == "/files/films/a%20film.mp4"
    status, _, headers = get(address + video, Range="bytes=10-19")
    assert (status, headers["content-length"], headers["content-type"]) == (206, "10", "video/mp4")


def test_a_contact_sheet_is_served_as_a_picture(tmp_path: Path) -> None:
    folder = made_run.write(tmp_path / "can", "made", {"unsteered": [0, 1]})
    write_sheet(tmp_path / "sheets" / "sheet.png", [np.zeros((8, 8, 3), np.uint8)])
    update_index(folder, {tmp_path / "sheets" / "sheet.png": (("unsteered", 1),)})
    with serving(tmp_path) as address:
        assert [episode["sheet"] for episode in view(address)["episodes"]] == [None, "/files/sheets/sheet.png"]
        with urllib.request.urlopen(f"{address}/files/sheets/sheet.png") as response:
            assert response.headers["content-type"] == "image/png"


def test_videos_beside_the_runs_are_shown(tmp_path: Path) -> None:
    """`sim-eval render` writes to videos/, `sim-eval` to runs/."""
    folder = made_run.write(tmp_path / "runs" / "can", "made", {"unsteered": [0, 1]})
    for name in ("videos", "others"):
        video = tmp_path / name / "film.mp4"
        write_video(video, [np.zeros((32, 32, 3), np.uint8)] * 4, fps=20)
        update_index(folder, {video: (("unsteered", int(name == "others")),)})
    with serving(tmp_path / "runs", tmp_path / "videos") as address:
        found = view(address)
        assert [episode["video"] for episode in found["episodes"]] == ["/files/videos/film.mp4", None]
        assert get(f"{address}/files/videos/film.mp4")[0] == 200
        assert get(f"{address}/files/others/film.mp4")[0] == 404
        report = get(f"{address}/files/report?run={found['runs'][0]['id']}")[1]
        assert '"videos/film.mp4"' in report
    assert read_command("view", [str(folder)]).videos == Path("videos").resolve()


@pytest.mark.parametrize(
    "path", ["can/records.jsonl", "can/config.yaml", "../secret.mp4", "no.mp4", "can", "nul%00.mp4"]
)
def test_nothing_but_videos_below_the_root_is_served(address: str, root: Path, path: str) -> None:
    (root.parent / "secret.mp4").write_bytes(b"secret")
    for written in (path, quote(path, safe=""), path.replace("..", "%2e%2e")):
        status, content, _ = get(f"{address}/files/{written}")
        assert (status, "secret" in content) == (404, False)


def test_the_report_is_that_of_compare(address: str) -> None:
    runs = {run["name"]: run["id"] for run in view(address)["runs"]}
    status, content, headers = get(f"{address}/files/report?run={runs['can']}&run={runs['deeper/lift']}")
    assert status == 200
    assert "can flow" in content
    assert "lift flow" in content
    assert '"films/a%20film.mp4"' in content
    assert "script-src 'sha256-" in headers["content-security-policy"]
    status, content, _ = get(f"{address}/files/report?run={runs['learned']}")
    assert status == 200
    assert "environment steps" in content
    status, content, _ = get(f"{address}/files/report?run={runs['learned']}&run={runs['can']}")
    assert (status, "choose some of one kind" in content) == (400, True)
    assert get(f"{address}/files/report?run=x")[0] == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_page_of_another_host_learns_nothing(address: str, host: str) -> None:
    """Such a page could point its own name at this machine."""
    status, content, _ = get(f"{address}/view.json", Host=host)
    assert (status, "can" in content) == (400, False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/view.json", "/files/report", "/files/films/a%20film.mp4"])
def test_it_only_reads(address: str, method: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(urllib.request.Request(address + path, data=b"", method=method))


def test_changes_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim_eval.view.catalog._LOOK_S", 0.0)
    folder = made_run.write(tmp_path / "a", "can", {"unsteered": [0, 1, 0]})
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:1]))
    catalog = Catalog(tmp_path, Videos((tmp_path,)))
    (entry,) = catalog.refresh(LONG)
    assert (entry.state, entry.done) == ("unfinished", 1)
    version = catalog.version
    catalog.refresh(LONG)
    assert catalog.version == version
    (folder / "records.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])  # one is being written
    (entry,) = catalog.refresh(LONG)
    assert (entry.state, entry.done) == ("unfinished", 2)
    with lock(folder):
        (entry,) = catalog.refresh(LONG)
        assert (entry.state, entry.done) == ("running", 2)
        (folder / "records.jsonl").write_bytes(b"".join(lines))
        (entry,) = catalog.refresh(LONG)
        assert (entry.state, entry.done) == ("running", 3)
    made_run.write(tmp_path / "b", "can", {"unsteered": [0]})
    assert [entry.state for entry in catalog.refresh(LONG)] == ["ended", "ended"]
    shutil.rmtree(folder)
    assert [entry.name for entry in catalog.refresh(LONG)] == ["b"]
    assert catalog.version > version


def test_folders_that_are_not_read_yet_are_listed(tmp_path: Path) -> None:
    for name in "abc":
        made_run.write(tmp_path / name, "can", {"unsteered": [0]})
    catalog = Catalog(tmp_path, Videos((tmp_path,)))
    assert sorted(entry.state for entry in catalog.refresh(0.0)) == ["ended", "reading", "reading"]
    assert catalog.reading == 2
    assert {entry.state for entry in catalog.refresh(LONG)} == {"ended"}


def test_broken_and_hostile_folders_are_listed_and_do_no_harm(tmp_path: Path) -> None:
    folders = hostile_runs.write(tmp_path / "runs")
    found = {entry.folder: entry for entry in Catalog(tmp_path / "runs", Videos((tmp_path / "runs",))).refresh(LONG)}
    assert set(found) == set(folders.values())
    states = {name: found[folder].state for name, folder in folders.items()}
    sound = {"markup", "bytes", "videos elsewhere"}
    assert {name for name, state in states.items() if state != "broken"} == sound
    for name in states.keys() - sound:
        assert str(folders[name]) in found[folders[name]].problem, name
    assert not (tmp_path / "runs" / "made by yaml").exists()
    assert {episode.video for episode in found[folders["videos elsewhere"]].episodes} == {None}
    with serving(tmp_path / "runs") as address:
        runs = view(address)["runs"]
        assert len(runs) == len(folders)
        for run in runs:
            status, _, _ = get(f"{address}/files/report?run={run['id']}")
            assert status == (400 if run["state"] == "broken" else 200), run["name"]
        assert get(f"{address}/files/videos%20elsewhere/link.mp4")[0] == 404


def test_the_root_may_be_a_run_folder(tmp_path: Path) -> None:
    made_run.write(tmp_path / "only", "can", {"unsteered": [0]})
    (entry,) = Catalog(tmp_path / "only", Videos((tmp_path / "only",))).refresh(LONG)
    assert (entry.name, entry.state) == ("only", "ended")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_folder"], "no_such_folder is not a folder; accepted: sim-eval view DIR"),
        ([".", "port=70000"], "port is 70000; accepted: 0 to 65535"),
        ([".", "host=0.0.0.0"], "unknown option host; accepted: videos, port"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], said: str) -> None:
    script = "from sim_eval.commands import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "view", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr


def test_one_bad_folder_keeps_no_other_from_being_shown(tmp_path: Path) -> None:
    """A number of 5,000 hexadecimal digits, a NUL, 10 MB of YAML, 1,500 levels of folders, a date after year 9999."""
    made_run.write(tmp_path / "sound", "made", {"unsteered": [0, 1]})
    bad = {
        "number": ("config.yaml", "episodes: 0x" + "f" * 5000),
        "text": ("videos.json", '[{"file": "a\\u0000.mp4", "shows": []}]'),
        "large": ("config.yaml", "a: [1, 2, {b: c}]\n" * 600_000),
    }
    for name, (file, content) in bad.items():
        (made_run.write(tmp_path / name, "made", {"unsteered": [0, 1]}) / file).write_text(content)
    late = made_run.write(tmp_path / "late", "made", {"unsteered": [0, 1]})
    os.utime(late / "config.yaml", (2**40, 2**40))
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=here)
        here, above = os.open("deep", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    with serving(tmp_path) as address:
        runs = {run["name"]: run for run in view(address)["runs"]}
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # pytest's own way of removing it is recursive
    assert {name: run["state"] for name, run in runs.items()} == {
        **dict.fromkeys(bad, "broken"),
        **dict.fromkeys(("sound", "late"), "ended"),
    }
    assert "episodes is a int too large to be shown" in runs["number"]["problem"]
    assert "videos.json: file is " in runs["text"]["problem"]
    assert "config.yaml has 10800000 bytes; accepted: 200000" in runs["large"]["problem"]


def test_a_defect_in_a_reader_is_told_and_costs_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        made_run.write(tmp_path / name, "made", {"unsteered": [0, 1]})
    read = entry.read_run

    def failing(folder: Path) -> Any:
        if folder.name == "a":
            raise IndexError("out of range")
        return read(folder)

    monkeypatch.setattr(entry, "read_run", failing)
    found = {each.name: each for each in Catalog(tmp_path, Videos((tmp_path,))).refresh(LONG)}
    assert (found["a"].state, found["b"].state) == ("broken", "ended")
    assert found["a"].problem.endswith("IndexError: out of range")


@pytest.mark.parametrize("name", ["loop.mp4", "%00.mp4", "a" * 300 + ".mp4", "%ff.mp4", "%ed%a0%80.mp4", "/" * 5000])
def test_what_leads_nowhere_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with serving(tmp_path) as address:
        assert get(f"{address}/files/{name}")[0] == 404


def test_connections_without_a_request_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WAIT_S", 0.5)
    with serving(tmp_path) as address:
        host, port = address.removeprefix("http://").split(":")
        begun = time.monotonic()
        with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for each in (silent, half):
                each.settimeout(10)
                assert ended(each)
        assert time.monotonic() - begun > 0.4
        assert get(address)[0] == 200


def test_more_connections_than_a_browser_opens_are_refused(tmp_path: Path) -> None:
    """They would use up the files that a process may open."""
    with serving(tmp_path) as address:
        host, port = address.removeprefix("http://").split(":")
        opened = [socket.create_connection((host, int(port))) for _ in range(connections.MOST + 40)]
        time.sleep(0.5)
        for each in opened:
            each.settimeout(0.01)
        refused = sum(ended(each) for each in opened)
        assert refused == 40
        for each in opened:
            each.close()
        time.sleep(0.2)
        assert get(address)[0] == 200


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
