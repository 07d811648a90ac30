"""The commands: options, messages, exit codes."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import sim_eval.evaluation.settings
import sim_eval.models
import sim_eval.tuning.sweep
import tasks
import tasks.osc
from sim_eval import cli
from sim_eval.checkpoints import ROOT, CheckpointError
from sim_eval.config.compose import CONFIGS, TARGETS, compose, load_yaml
from sim_eval.config.strengths import EVERY_TASK, SHIPPED, Tuned, read_strengths, write_strengths
from sim_eval.config.tasks import task_factory
from sim_eval.errors import RunError
from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.evaluation.settings import build_samplers, check_tuned, read_settings
from sim_eval.runs.records import RECORDS, read
from sim_eval.runs.run_folder import load_config
from sim_eval.samplers import BestOfN
from sim_eval.samplers.sampler import Models
from sim_eval.tuning.results import Trial
from sim_eval.tuning.sweep import SweepSettings, read_sweep_settings
from tasks.registry import TASKS
from tasks.task import TaskError
from tests.toy_models import ToyCritic, ToyDenoiser
from tests.toy_task import make_toy

STRENGTHS = [f"sampler.{name}.strength=0.5" for name in ("value_guided", "qpilots_u", "qpilots_m")]
ALL_TASKS = ", ".join(TASKS)
QUICK = ["samplers=[unsteered,best_of_n]", "episodes=3", "workers=0"]

MINE = """
class Mine:
    needs = frozenset()

    def __init__(self, strength, names=()):
        if strength < 0:
            raise ValueError("negative")
        self.strength, self.names = strength, names

def mine(): ...
def build(a): ...
def Task(size): return size
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """A command in an empty folder, with the toy in place of simulator and checkpoints: status, stdout, stderr."""

    put_toy(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def run(entry: Callable[[], None], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sim-eval", *arguments])
        with pytest.raises(SystemExit) as end:
            entry()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out, captured.err

    return run


def put_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of simulator and checkpoints."""

    def build_models(*arguments: Any) -> Models:
        return Models(ToyDenoiser(), ToyCritic(), fingerprints={"policy": "abc", "critic": "def"})

    monkeypatch.setattr(sim_eval.models, "build_models", build_models)
    monkeypatch.setattr(tasks, "make", make_toy)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a QUICK run, which tests copy."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        put_toy(monkeypatch)
        monkeypatch.setattr(sys, "argv", ["sim-eval", *QUICK, f"output={folder}"])
        with pytest.raises(SystemExit, match="0"):
            cli.evaluate()
    return folder


@pytest.fixture
def evaluated(quick_run: Path, call: Call) -> Call:
    """As `call`, in a folder that holds a QUICK run in ./run."""
    shutil.copytree(quick_run, "run")
    return call


def message(arguments: Sequence[str]) -> str:
    with pytest.raises((RunError, TaskError)) as error:
        build_samplers(read_settings(arguments))
    return str(error.value)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_composes_and_every_sampler_builds(task: str) -> None:
    every_sampler = ",".join(compose("eval", [])["sampler"])
    arguments = [f"task={task}", "policy=tests.toy_models:ToyDenoiser", f"samplers=[{every_sampler}]"]
    strengths = [f"sampler.{name}.strength=0.5" for name in ("vgps", "qgf")]
    settings = read_settings([*arguments, *STRENGTHS, *strengths])
    assert settings.task["name"] == task
    samplers = build_samplers(settings)
    for name, sampler in samplers.items():
        fields = {key: value for key, value in settings.sampler[name].items() if key != "_target_"}
        assert vars(sampler) == fields, "a sampler's fields ARE its configuration"


def test_options_reach_the_settings() -> None:
    arguments = ["samplers=[qpilots_u,unsteered]", "sampler.qpilots_u.strength=0.5", "sampler.qpilots_u.jacobian=false"]
    settings = read_settings([*arguments, "episodes=7", "seed=3", "workers=2", "output=here", "task.stepping=stock"])
    assert tuple(settings.sampler) == ("qpilots_u", "unsteered")
    assert settings.sampler["qpilots_u"]["strength"] == 0.5
    assert settings.sampler["qpilots_u"]["jacobian"] is False
    assert (settings.episodes, settings.seed, settings.workers) == (7, 3, 2)
    assert settings.output == Path("here")
    assert settings.task == {"name": "can", "stepping": "stock"}


def test_one_sampler_is_picked_like_any_other_group() -> None:
    assert list(read_settings(["sampler=unsteered"]).sampler) == ["unsteered"]
    assert list(read_sweep_settings(["sampler=qpilots_u"]).sampler) == ["qpilots_u"]


def test_strengths_come_from_the_tuned_table(tmp_path: Path) -> None:
    table = tmp_path / "strengths.yaml"
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    settings = read_settings(["samplers=[qpilots_u]", f"strengths={table}"])
    assert settings.sampler["qpilots_u"]["strength"] == 0.3
    told = message(["samplers=[qpilots_m]", f"strengths={table}"])
    assert told.startswith("no strength has been tuned for task=can policy=flow sampler qpilots_m")
    assert "sampler.qpilots_m.strength=NUMBER" in told


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (
            "task=cam",
            f"task is cam; accepted: {ALL_TASKS}, {TARGETS} (did you mean can?)",
        ),
        ("taks=can", "(did you mean task?)"),
        ("polcy=flow", "unknown option polcy; accepted: task, policy, critic, posterior, device, checkpoints, seed, "),
        ("task.env=Stack", "env is 'Stack' for task 'can'; accepted for task 'robosuite' alone"),
        ("task.size=3", "task 'can' takes no option size; accepted: index, perturbation, env, instruction, stepping"),
        ("task.stepping=slow", "stepping is 'slow'; accepted: fast, stock"),
        ("policy=flaw", "policy is flaw; accepted: diffusion, flow, flow_weak, mini_vla, "),
        ("policy=flaw", f"lerobot, openpi, {TARGETS}, a checkpoint in {ROOT}/can (did you mean flow?)"),
        ("policy.size=3", "policy.size: policy=flow takes no options"),
        ("policy=./no.py:build", "no.py is no Python file"),
        ("critic=x", "critic is x; accepted: default, flow_weak, mini_vla, mini_vla_strong, none, "),
        ("critic=iql", "sim-eval-train stage=critic writes iql, monte_carlo and sarsa"),
        ("device=gpu", "device is gpu; accepted: auto, cpu, cuda"),
        ("sampler.mine.strength=3", "sampler.mine.strength is of no sampler that runs; samplers is [unsteered, "),
        ("strengths=no.yaml", "no.yaml cannot be read"),
        ("samplers=[unsteerd]", "samplers is unsteerd; accepted: "),
        ("samplers=[unsteered,unsteered]", "samplers is [unsteered, unsteered]: each may be picked once"),
        ("samplers=[]", "samplers is []; accepted: a list with at least one entry"),
        ("samplers=unsteered", "samplers is unsteered; accepted: a list such as [a,b]"),
        ("sampler=unsteerd", "samplers is unsteerd; accepted: "),
        ("sampler=[unsteered]", "samplers is [unsteered]; accepted: "),
        ("sampler.qpilots_u=3", "sampler.qpilots_u is a group of options; accepted: sampler.qpilots_u.strength"),
        ("sampler.qpilots_u.strenght=3", "did you mean sampler.qpilots_u.strength?"),
        ("sampler.qpilots_u._target_=os.abort", "unknown option sampler.qpilots_u._target_"),
        ("episode=3", "unknown option episode; accepted: "),
        ("+episodes=3", "unknown option +episodes"),
        ("episodes", "episodes is not understood; options are written name=value"),
        ("episodes=0", "episodes is 0; accepted: a whole number of at least 1"),
        ("episodes=many", "episodes is many; accepted: a whole number"),
        ("episodes=2.5", "episodes is 2.5; accepted: a whole number"),
        ("episodes=null", "episodes is null; accepted: a whole number"),
        ("episodes=true", "episodes is true; accepted: a whole number"),
        ("workers=-1", "workers is -1; accepted: a whole number of at least 0"),
        ("batch=0", "batch is 0; accepted: a whole number of at least 1"),
        ("seed=-1", "seed is -1; accepted: a whole number of at least 0"),
        ("videos=-2", "videos is -2; accepted: rescued, broken, all or a whole number, the first so many episodes"),
        ("videos=saved", "videos is saved; accepted: rescued, broken, all or a whole number"),
        ("block=test", "block is test; accepted: eval, tune, train"),
        ("output=", "output is empty; accepted: a path"),
        ("seed=${episodes}", "seed=${episodes}: nothing is interpolated; accepted: a plain value"),
        ("episodes=[1", "the options cannot be read, up to episodes=[1"),
        ("episodes=1,2", "the options cannot be read, up to episodes=1,2"),
        ("sampler.best_of_n.n=0", "sampler.best_of_n: "),
        ("sampler.best_of_n.n=x", "sampler.best_of_n.n is x; accepted: a whole number"),
        ("sampler.qpilots_u.strength=high", "sampler.qpilots_u: strength='high': accepted is a finite number"),
        ("sampler.qpilots_u.scale=half", "sampler.qpilots_u: scale='half': accepted is exact or matched"),
        ("sampler.qpilots_u.jacobian=2", "sampler.qpilots_u.jacobian is 2; accepted: true or false"),
    ],
)
def test_bad_options_are_named_with_what_is_accepted(argument: str, told: str) -> None:
    assert told in message([*STRENGTHS, argument])


def test_a_policy_without_a_critic_runs_unsteered(tmp_path: Path) -> None:
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "flow.safetensors").touch()
    only_flow = [f"checkpoints={tmp_path}", "samplers=[unsteered]"]
    assert message(only_flow).startswith("critic is default; accepted: none, ")
    assert message(only_flow).endswith("; sim-eval-train stage=critic writes iql, monte_carlo and sarsa")
    assert read_settings([*only_flow, "critic=none"]).critic is None


def test_a_run_from_the_command_line(call: Call) -> None:
    status, out, err = call(cli.evaluate, *QUICK, "output=run")
    assert (status, err) == (0, ""), "silent progress where there is no terminal"
    assert "task=can policy=flow" in out
    assert "best_of_n" in out
    assert len(read(Path("run"))) == 6
    stored = load_config(Path("run"))
    assert stored is not None
    assert stored["sampler"]["best_of_n"] == {"_target_": "sim_eval.samplers.BestOfN", "n": 8, "steps": 10}
    assert (Path("run") / "report.md").exists()
    status, out, _ = call(cli.compare, "run")
    assert status == 0
    assert "won/lost" in out


def test_a_report_goes_where_it_is_asked_to(evaluated: Call) -> None:
    assert (Path("run") / "report.html").exists()
    status, out, _ = evaluated(cli.compare, "run", "output=new/report")
    assert (status, out.splitlines()[-1]) == (0, "new/report/report.html")
    assert sorted(path.name for path in Path("new/report").iterdir()) == ["report.html", "report.md", "summary.json"]
    for arguments, told in [
        (["run", "out=x"], "out=x is not understood; accepted: run folders, and one output=DIR"),
        (["run", "output="], "output= is not understood"),
        (["output=new"], "output=new without a run folder; accepted: sim-eval-compare RUN [RUN ...] [output=DIR]"),
        (["run", "output=run/records.jsonl"], "cannot write run/records.jsonl/summary.json: File exists"),
    ]:
        status, _, err = evaluated(cli.compare, *arguments)
        assert (status, told in err) == (2, True), err


def test_a_users_error_is_one_line_and_status_2(call: Call) -> None:
    status, out, err = call(cli.evaluate, "task=cam")
    assert (status, out) == (2, "")
    assert err == f"sim-eval: error: task is cam; accepted: {ALL_TASKS}, {TARGETS} (did you mean can?)\n"
    assert not list(Path.cwd().iterdir()), "nothing is left behind"
    call(cli.evaluate, *QUICK, "output=run")
    status, _, err = call(cli.evaluate, *QUICK, "output=run", "seed=4")
    assert status == 2
    told = "seed is 0 there, 4 asked. Accepted: the same options, output=OTHER, or run deleted"
    assert err.endswith(f"belongs to another configuration: {told}\n")


def test_a_checkpoints_error_is_a_users_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_models(*arguments: Any) -> None:
        raise CheckpointError("flow.safetensors is truncated")

    monkeypatch.setattr(sim_eval.models, "build_models", build_models)
    assert call(cli.evaluate, *QUICK, "output=run")[2] == "sim-eval: error: flow.safetensors is truncated\n"
    assert not Path("run").exists()


def test_a_defect_keeps_its_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_models(*arguments: Any) -> None:
        raise ValueError("shapes do not match")

    monkeypatch.setattr(sim_eval.models, "build_models", build_models)
    monkeypatch.setattr(sys, "argv", ["sim-eval", *QUICK])
    with pytest.raises(ValueError, match="shapes do not match"):
        cli.evaluate()


def test_nothing_comparable_is_an_error(call: Call) -> None:
    call(cli.evaluate, "samplers=[unsteered]", "episodes=2", "workers=0", "output=run")
    status, _, err = call(cli.compare, "run")
    assert status == 2
    assert "nothing is comparable" in err


@pytest.mark.parametrize("entry", [cli.evaluate, cli.compare, cli.render, cli.sweep, cli.probe, cli.train])
def test_help(call: Call, entry: Callable[[], None]) -> None:
    status, out, _ = call(entry, "--help")
    assert status == 0
    assert out.startswith("usage: sim-eval")
    assert all(len(line.split()) > 1 for line in out.splitlines() if line.startswith("  ")), "each option has a meaning"


def test_the_version_is_told(call: Call) -> None:
    assert call(cli.evaluate, "--version")[:2] == (0, f"sim-eval {importlib.metadata.version('sim-eval')}\n")


def test_an_interruption_while_modules_load_is_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command imports before it guards itself takes no time."""
    program = "import sys; before = set(sys.modules); import sim_eval.cli; print(*set(sys.modules) - before)"
    root = Path(sim_eval.__file__).parent.parent
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert not {"numpy", "torch", "hydra", "tasks", "mujoco"} & set(answer.stdout.split())

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sim_eval.evaluation.settings, "read_settings", interrupted)
    assert call(cli.evaluate)[0] == 130


def test_an_option_of_a_sampler_that_does_not_run_is_refused() -> None:
    told = message(["samplers=[unsteered]", "sampler.qpilots_u.strength=3"])
    assert told == "sampler.qpilots_u.strength is of no sampler that runs; samplers is [unsteered]"


def test_samplers_from_outside_take_their_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    mine = ["samplers=[unsteered,./mine.py:Mine]", "sampler.mine.strength=1e-1", "sampler.mine.names=[a,b]"]
    settings = read_settings(mine)
    assert tuple(settings.sampler) == ("unsteered", "mine")
    assert settings.sampler["mine"] == {"_target_": f"{tmp_path}/mine.py:Mine", "strength": 0.1, "names": ["a", "b"]}
    assert vars(build_samplers(settings)["mine"]) == {"strength": 0.1, "names": ["a", "b"]}
    assert "mine.py:Mine needs strength; give sampler.mine.strength=VALUE" in message(mine[:1])
    assert message([*mine, "sampler.mine.strength=-1"]) == "sampler.mine: negative"
    assert "each may be picked once, mine names two" in message(["samplers=[./mine.py:Mine,mine.py:mine]"])
    table = tmp_path / "strengths.yaml"
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {mine: 0.3}}}\n")
    assert read_settings([mine[0], f"strengths={table}"]).sampler["mine"]["strength"] == 0.3


def test_models_and_tasks_from_outside_are_stored_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    arguments = ["task=./mine.py:Task", "task.size=2", "policy=~/mine.py:build", "policy.a.b=x", "critic=none"]
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = read_settings([*arguments, "samplers=[unsteered]", "output=run"])
    assert settings.task_name == "mine.Task"
    assert task_factory(settings.task)() == 2
    stored = settings.stored()
    assert stored["task"] == {"name": "mine.Task", "target": f"{tmp_path}/mine.py:Task", "options": {"size": 2}}
    assert (stored["policy"], stored["policy_target"]) == ("mine", f"{tmp_path}/mine.py:build")
    assert (stored["policy_options"], stored["critic"]) == ({"a": {"b": "x"}}, None)
    assert "posterior" not in stored
    assert "takes no option seize; accepted: size" in message([*arguments, "task.seize=2"])


def test_strengths_of_other_models_are_refused(call: Call, tmp_path: Path) -> None:
    table = Path(tmp_path / "table.yaml")
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    status, _, err = call(cli.evaluate, "samplers=[qpilots_u]", "output=run", f"strengths={table}")
    assert (status, Path("run").exists()) == (2, False)
    assert f"of sampler qpilots_u in {table} was tuned for another policy and critic; give one with sampler.q" in err
    Path("mine.yaml").write_text("can: {flow: {policy: abc, critic: b, strengths: {value_guided: 0.3}}}\n")
    settings = read_settings(["samplers=[value_guided]", "strengths=mine.yaml"])
    check_tuned(settings, {"policy": "abc", "critic": "b"})
    with pytest.raises(RunError, match="another critic"):
        check_tuned(settings, {"policy": "abc", "critic": "c"})
    check_tuned(read_settings(["samplers=[value_guided]", *STRENGTHS[:1]]), {"policy": "abc"})


def test_strengths_for_every_task_are_for_critics_of_this_project_on_the_exact_scale(tmp_path: Path) -> None:
    settings = read_settings(["samplers=[qpilots_u]"])
    assert settings.sampler["qpilots_u"]["strength"] == load_yaml(SHIPPED)[EVERY_TASK]["qpilots_u"]
    check_tuned(settings, {"policy": "any", "critic": "any"})
    assert "no strength has been tuned" in message(["samplers=[qpilots_u]", "sampler.qpilots_u.scale=matched"])
    (tmp_path / "mine.py").write_text("def build(): pass\n")
    assert "no strength has been tuned" in message(["samplers=[qpilots_u]", f"critic={tmp_path}/mine.py:build"])


def test_a_sweep_writes_what_it_chose_and_repeats_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def try_strengths(settings: SweepSettings, samplers: Any, *models: Any) -> Iterator[Trial]:
        for name, strength in samplers:
            tried.append((name, strength))
            yield Trial(name, strength, 2, int(10 * strength), (0.0, 1.0), 0.0)

    monkeypatch.setattr(sim_eval.tuning.sweep, "sweep", try_strengths)
    shipped = SHIPPED.read_bytes()
    arguments = ["sampler=qpilots_u", "episodes=2", "workers=0", "results=mine"]
    status, out, err = call(cli.sweep, *arguments, "strengths=[0.1,0.2]")
    assert status == 0, err
    assert "mine/strengths.yaml; sim-eval uses them with strengths=mine/strengths.yaml\n" in out
    assert call(cli.sweep, *arguments, "strengths=[0.2,0.1,0.05]")[0] == 0
    assert tried == [("qpilots_u", 0.1), ("qpilots_u", 0.2), ("qpilots_u", 0.05)]
    tuned = read_strengths(Path("mine/strengths.yaml"), "can", "flow")
    assert tuned == Tuned("abc", "def", {"qpilots_u": 0.2})
    assert SHIPPED.read_bytes() == shipped
    others = Path("others.yaml")
    others.write_text("can: {flow: {policy: a, critic: b, strengths: {qpilots_u: 0.3}}}\n")
    status, _, err = call(cli.sweep, *arguments, "results=other", f"output={others}")
    assert (status, "that were tuned for another policy and critic; accepted: another output=FILE" in err) == (2, True)
    assert not Path("other").exists()


def test_a_sweep_of_best_of_n_turns_its_number_of_draws(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def try_strengths(settings: SweepSettings, samplers: Any, *models: Any) -> Iterator[Trial]:
        for (name, strength), sampler in samplers.items():
            tried.append(sampler)
            yield Trial(name, strength, 2, int(strength == 4), (0.0, 1.0), 0.0)

    monkeypatch.setattr(sim_eval.tuning.sweep, "sweep", try_strengths)
    arguments = ["sampler=best_of_n", "episodes=2", "workers=0", "results=mine"]
    status, out, err = call(cli.sweep, *arguments, "strengths=[2,4]")
    assert status == 0, err
    assert tried == [BestOfN(n=2), BestOfN(n=4)]
    assert "chosen: best_of_n 4\n" in out
    assert not Path("mine/strengths.yaml").exists()
    status, _, err = call(cli.sweep, *arguments, "strengths=[0.5]")
    assert "for best_of_n the number of draws, is 0.5; accepted: a whole number of at least 1" in err


def test_strengths_are_added_to_a_file_and_its_comments_kept(tmp_path: Path) -> None:
    path = tmp_path / "strengths.yaml"
    write_strengths(path, "lift", "flow", Tuned("a", "b", {"value_guided": 0.2}))
    path.write_text(f"# a comment\n{path.read_text()}")
    write_strengths(path, "lift", "flow", Tuned("a", "b", {"qpilots_u": 0.3}))
    assert path.read_text().startswith("# a comment\nlift:\n  flow:\n    policy: a\n")
    assert read_strengths(path, "lift", "flow") == Tuned("a", "b", {"value_guided": 0.2, "qpilots_u": 0.3})
    path.write_text("lift: {flow: {qpilots_u: 0.3}}\n")
    with pytest.raises(RunError, match="lift: flow is no table of strengths; accepted: a file that sim-eval-sweep"):
        read_strengths(path, "lift", "flow")


def test_a_first_run_says_on_a_terminal_that_it_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks.osc, "is_compiled", lambda: False)
    tell_of_compiling({"name": "can", "stepping": "fast"})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell_of_compiling({"name": "can", "stepping": "stock"})
    assert capsys.readouterr().err == ""
    tell_of_compiling({"name": "can", "stepping": "fast"})
    assert capsys.readouterr().err == "compiling the control step, once: about a minute\n"


def test_the_configuration_files_are_where_the_commands_look() -> None:
    assert (CONFIGS / "eval.yaml").is_file()


def test_rendering_shows_the_recorded_episodes(evaluated: Call) -> None:
    status, out, _ = evaluated(cli.render, "run", "episodes=[0,2]", "samplers=[best_of_n]", "size=64", "workers=0")
    assert status == 0
    videos = [f"videos/run/can-flow-best_of_n-000{episode}.mp4" for episode in (0, 2)]
    assert out.splitlines() == [*videos, "run/report.html"]
    assert all(Path(path).is_file() for path in videos)
    assert "can-flow-best_of_n-0002.mp4" in Path("run/report.html").read_text(), "the report has been made again"
    status, out, _ = evaluated(cli.render, "run", "episodes=[0,1]", "samplers=[best_of_n]", "size=64", "workers=0")
    assert (status, out.splitlines()[:2]) == (
        0,
        [
            "videos/run/can-flow-best_of_n-0001.mp4",
            "videos kept, as they exist already: 1 (overwrite=true draws them again)",
        ],
    )


def test_an_episode_that_cannot_be_rendered_is_told_and_the_others_are(evaluated: Call) -> None:
    Path("run/actions/best_of_n/0001.npy").unlink()
    status, out, err = evaluated(cli.render, "run", "samplers=[best_of_n]", "size=64", "workers=0")
    assert (status, len(out.splitlines())) == (1, 3)
    assert err.startswith("skipped: sampler=best_of_n episode=1: its actions cannot be read from run/actions/")


def test_a_video_that_is_skipped_is_no_success(call: Call) -> None:
    call(cli.evaluate, *QUICK, "output=run")
    Path("run/actions/best_of_n/0001.npy").unlink()
    status, _, err = call(cli.evaluate, *QUICK, "output=run", "videos=all")
    assert (status, "skipped: sampler=best_of_n episode=1" in err) == (1, True)
    assert len(list(Path("videos/run").iterdir())) == 5, "the others are made"


def test_worker_processes_are_the_default(evaluated: Call) -> None:
    status, out, err = evaluated(cli.render, "run", "episodes=[0]", "samplers=[unsteered]", "size=64")
    assert (status, err) == (0, ""), "silent progress where there is no terminal"
    assert all(Path(path).is_file() for path in out.splitlines())


def test_videos_of_a_run(call: Call) -> None:
    assert call(cli.evaluate, *QUICK, "output=run", "videos=1")[0] == 0
    names = ["can-flow-best_of_n-0000.mp4", "can-flow-unsteered-0000.mp4"]
    assert sorted(path.name for path in Path("videos/run").iterdir()) == names
    assert call(cli.evaluate, *QUICK, "output=run", "videos=1")[0] == 0, "videos that exist are not drawn again"
    assert call(cli.evaluate, *QUICK, "output=run", "videos=all")[0] == 0
    assert len(list(Path("videos/run").iterdir())) == 6


def test_a_folders_name_is_taken_as_it_stands(call: Call) -> None:
    for given, made in (
        ("output=2026_06_14", "2026_06_14"),
        ("output=a b=c", "a b=c"),
        ("output=${x}", "${x}"),
        ("output='it''s'", "it''s"),
    ):
        assert call(cli.evaluate, "samplers=[unsteered]", "episodes=1", "workers=0", given)[0] == 0
        assert (Path(made) / RECORDS).is_file()


def test_a_reader_that_wants_no_more_is_no_error() -> None:
    program = f"{sys.executable} -c 'from sim_eval.cli import evaluate; evaluate()' --help | true"
    answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert answer.stderr == ""


def test_videos_that_compare_need_something_to_compare(call: Call) -> None:
    status, _, err = call(cli.evaluate, "samplers=[best_of_n]", "videos=rescued", "output=run")
    assert (status, "videos is rescued, which compares samplers with unsteered" in err) == (2, True)
    assert not Path("run").exists()


def test_nothing_to_render_is_told(evaluated: Call) -> None:
    outcomes = {(record.sampler, record.success) for record in read(Path("run"))}
    assert outcomes == {("unsteered", True), ("best_of_n", True)}
    status, out, _ = evaluated(cli.render, "run", "videos=broken")
    assert (status, out) == (0, "nothing to render: videos is broken, and no episode in run is\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["episodes=[7]"], "episodes: 7 is not recorded in run; accepted: 0, 1, 2"),
        (["episodes=3"], "episodes is 3; accepted: a list with at least one entry, such as [a,b]"),
        (["samplers=[qpilots_u]"], "samplers: qpilots_u is not recorded in run; accepted: unsteered, best_of_n"),
        (["size=63"], "size is 63; accepted: an even number of pixels"),
        (["format=avi"], "format is avi; accepted: mp4, gif"),
        (["videos=saved"], "videos is saved; accepted: rescued, broken, all or a whole number"),
        (["workers=-1"], "workers is -1; accepted: a whole number of at least 0"),
        (["side_by_side=2"], "side_by_side is 2; accepted: true or false"),
        (
            ["side_by_side=true", "samplers=[unsteered]"],
            "side_by_side=true needs two samplers or more, there is unsteer",
        ),
        (["sheets=true"], "unknown option sheets; accepted: "),
    ],
)
def test_bad_render_options(evaluated: Call, arguments: list[str], told: str) -> None:
    status, _, err = evaluated(cli.render, "run", *arguments)
    assert (status, told in err, err.count("\n")) == (2, True, 1), err
    assert not Path("videos").exists()


def test_what_is_no_run_is_not_rendered(call: Call) -> None:
    assert "not a run folder" in call(cli.render, ".")[2]


def test_edited_code_of_a_users_task_is_another_task(call: Call) -> None:
    """The start hash cannot see what `step` does."""
    here = Path(__file__).parent
    Path("mine.py").write_text((here / "toy_task.py").read_text())
    options = ["task=./mine.py:ToyTask", f"policy={here}/toy_models.py:ToyDenoiser", "critic=none"]
    options += ["samplers=[unsteered]", "workers=0", "output=run"]
    assert call(cli.evaluate, *options, "episodes=1")[0] == 0
    Path("mine.py").write_text(Path("mine.py").read_text().replace("0.1 * action", "0.05 * action"))
    status, _, err = call(cli.evaluate, *options, "episodes=2")
    assert (status, "output=run was made with another task: its hash is" in err) == (2, True)
