"""Machines that are no developer's laptop: no home, no locks, a proxy, ASCII, a full disk, other people's checkouts."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sim_eval.config.command_line import read
from sim_eval.evaluation.options import default_output
from sim_eval.foundation import files
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.machine import git_revision
from sim_eval.video.options import RenderOptions
from tasks import compile_cache

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = [
    file for package in ("sim_eval", "policies", "critics", "tasks") for file in sorted((ROOT / package).rglob("*.py"))
]


def python(code: str, folder: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """The code in an interpreter of its own, in the folder; None takes a variable out."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    set_ones = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=set_ones, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture
def cacheless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No cache can be written but below the temporary folder, which is returned."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compile_cache, "_writable", lambda folder: False)
    monkeypatch.setattr(compile_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(compile_cache.tempfile, "tempdir", str(tmp_path))
    numba: Any = __import__("numba")

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    return tmp_path


def test_numba_gets_a_folder_where_it_would_find_none(cacheless: Path) -> None:
    numba: Any = __import__("numba")

    compile_cache.ensure_cache()
    found = Path(os.environ["NUMBA_CACHE_DIR"])
    assert found.parent == cacheless
    assert found.stat().st_mode & 0o777 == 0o700
    assert str(found) == numba.config.CACHE_DIR


def test_another_users_folder_is_not_trusted(cacheless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache.os, "getuid", lambda: 4711)
    compile_cache.ensure_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).name != "sim-eval-numba-4711"


def test_a_home_that_nobody_knows_is_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert not compile_cache._writable(Path("~/.cache/numba"))
    assert compile_cache._writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody without a home")
def test_the_control_step_can_be_imported_by_a_user_without_a_home(tmp_path: Path) -> None:
    code = (
        "import os, tempfile; tempfile.tempdir = os.getcwd(); os.umask(0o077)\n"
        "from pathlib import Path\n"
        "import numba; import tasks.compile_cache as found; found._beside = lambda: [Path('/proc/nowhere')]\n"
        "import numba.core.caching as caching; caching.InTreeCacheLocator.from_function = lambda *_: None\n"
        "os.environ.pop('HOME', None); os.path.expanduser = lambda path: path\n"
        "from tasks import osc; print(osc.advance.stats.cache_path)\n"
    )
    done = python(code, tmp_path, HOME=None, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/sim-eval-numba-")
    assert not (tmp_path / "~").exists()


def test_a_path_in_a_home_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(RunError, match=r"^the path ~/videos cannot be read: .*; accepted: a path without ~"):
        read(RenderOptions, ["output=~/videos"], folder=Path("run"))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_once(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    files._warn_of_no_locks.cache_clear()
    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(3):
        with files.locked(tmp_path / ".lock", "busy"):
            pass
    told = capsys.readouterr().err
    assert told.count("cannot be locked") == 1
    assert os.strerror(code) in told


def test_another_fault_of_a_lock_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"^cannot lock .*\.lock: the disk is broken$"), files.locked(tmp_path / ".lock"):
        pass


def _opened_as_text(call: ast.Call) -> bool:
    """Whether the call opens a text and names no encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg for keyword in call.keywords}
    if "encoding" in named:
        return False
    if name == "read_text" or {"text", "universal_newlines"} & named:
        return True
    if name == "write_text":  # not the suite's own, which writes bytes
        return isinstance(call.func, ast.Attribute)
    if name not in ("open", "NamedTemporaryFile", "TemporaryFile"):
        return False
    if ast.unparse(call.func) in ("os.open", "Image.open"):
        return False
    at = 1 if isinstance(call.func, ast.Name) else 0
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[at : at + 1]
    default = "r" if name == "open" else "b"
    return "b" not in (str(modes[0].value) if modes and isinstance(modes[0], ast.Constant) else default)


def test_every_text_is_opened_with_an_encoding() -> None:
    found = []
    for file in PRODUCT:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _opened_as_text(node):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)[:80]}")
    assert not found


def test_a_run_works_where_text_is_ascii(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests import toy_run; from sim_eval.runs.reader import read_run\n"
        "folder = Path('runs-\\u00e4'.encode('utf-8').decode(sys.getfilesystemencoding(), 'surrogateescape'))\n"
        "toy_run.run(folder, episodes=1); toy_run.run(folder, episodes=2); print(len(read_run(folder).records))\n"
        "from sim_eval.foundation.fields import load_yaml\n"
        "Path('config.yaml').write_bytes('task: k\\u00e4fer'.encode()); assert load_yaml(Path('config.yaml'))\n"
        "from sim_eval.commands import cli; sys.argv = ['sim-eval', 'list', '\\u00e4=1']; cli.main()\n"
    )
    done = python(code, tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.stdout == "4\n", done.stderr
    assert "sim-eval: error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one commit with one tracked Python file, in package/."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "code.py").write_text("x = 1\n", encoding="utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_the_revision_is_of_the_checkout_that_tracks_the_code(checkout: Path) -> None:
    found = git_revision(checkout / "package")
    assert found is not None
    assert len(found["commit"]) == 40
    assert not found["dirty"]
    installed = checkout / ".venv" / "lib" / "sim_eval"
    installed.mkdir(parents=True)
    (installed / "machine.py").write_text("", encoding="utf-8")
    assert git_revision(installed) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_the_revision_of_another_owners_checkout_is_told(checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 4711, 4711)
    plain = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True)
    assert plain.returncode, "git trusts it by itself"
    assert git_revision(checkout / "package") is not None


def test_two_runs_of_one_second_have_folders_of_their_own() -> None:
    names = set()
    for _ in range(5):
        names.add(default_output("can", "flow"))
        time.sleep(1e-5)
    assert len(names) == 5
    assert all(name.parent == Path("runs") and name.name.startswith("can-flow-20") for name in names)


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for command in (["list", "tasks"], ["--help"], ["--version"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [sys.executable, "-c", "from sim_eval.commands.cli import main; main()", *command],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=full,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        assert done.stderr == "sim-eval: error: the output cannot be written: No space left on device\n"
        assert done.returncode == 2


def test_mujocos_warnings_leave_no_file(tmp_path: Path) -> None:
    code = (
        "import mujoco, numpy as np; from tasks.mujoco_log import keep_log_out; keep_log_out()\n"
        'model = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><body><freejoint/><geom size="1"/></body>'
        "</worldbody></mujoco>')\n"
        "data = mujoco.MjData(model)\n"
        "for _ in range(3): data.qvel[:] = np.nan; mujoco.mj_step(model, data)\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("MuJoCo: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_forks_a_process_that_may_have_drawn() -> None:
    """Neither to run Python, nor to start a program."""
    found = []
    for file in PRODUCT:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            forks = ("os.fork(", "preexec_fn=", "multiprocessing.Pool(", "multiprocessing.Process(", "'fork'")
            if any(each in text for each in forks) or (
                text.startswith("ProcessPoolExecutor(") and "get_context('spawn')" not in text
            ):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert not found


def test_what_starts_programs_forks_nothing(tmp_path: Path) -> None:
    """In a process that maps more than there is memory, as one that has drawn may: there a fork fails."""
    code = (
        "import mmap, os\nfrom pathlib import Path\nimport numpy as np\n"
        "from sim_eval.rollout import interpreter\nfrom sim_eval.rollout.workers import work_through\n"
        "from sim_eval.runs.provenance import provenance\nfrom sim_eval.training.hdf5_file import check_readable\n"
        "from sim_eval.video.encode import check_encoder, write_video\nfrom tests.test_workers import ToyTask, sleep\n"
        "forks = []\nos.register_at_fork(before=lambda: forks.append(1))\n"
        "most = int(.7 * os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))\n"
        "held = [mmap.mmap(-1, most, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]\n"
        "check_encoder()\nwrite_video(Path('a.mp4'), [np.zeros((16, 16, 3), np.uint8)] * 2, 10)\n"
        "pipe, process = interpreter.started('sim_eval.rollout.process_engine')\npipe.close()\nprocess.wait()\n"
        "list(work_through([0, 0], sleep, ToyTask, 1))\nprovenance({}, None)\ncheck_readable(Path('a.mp4'))\n"
        "assert not forks\n"
    )
    done = python(code, tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr


def test_imageio_starts_ffmpeg_without_a_fork() -> None:
    from imageio_ffmpeg import _utils  # type: ignore[import-untyped]

    assert _utils._popen_kwargs(prevent_sigint=True)["preexec_fn"] is None
