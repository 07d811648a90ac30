"""Options of the evaluation, checked before any long work."""

from __future__ import annotations

from pathlib import Path

import pytest

from critics.objectives import OBJECTIVES
from policies.family import FAMILIES
from sim_eval.commands.cli import read_command
from sim_eval.config.components import TARGETS
from sim_eval.config.options import from_values
from sim_eval.config.samplers import SHIPPED
from sim_eval.evaluation.options import EvaluateOptions
from sim_eval.evaluation.sweep import conditions_of
from sim_eval.foundation.errors import RunError
from sim_eval.models import store
from sim_eval.models.store import ROOT
from sim_eval.training import names
from sim_eval.training.stages import STAGES
from tasks.naming import GYMNASIUM
from tasks.registry import TASKS
from tests.commands import ALL_TASKS, message

STRENGTHS = [f"sampler.{name}.strength=0.5" for name in ("value_guided", "qpilots_u", "qpilots_m")]
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


@pytest.mark.parametrize("task", TASKS)
def test_every_task_composes_and_every_sampler_builds(task: str) -> None:
    every_sampler = ",".join(SHIPPED)
    needed = ["task.id=CartPole-v1", "task.success=return"] if task == GYMNASIUM else []
    arguments = [f"task={task}", *needed, "policy=tests.toy_models:ToyDenoiser", f"samplers=[{every_sampler}]"]
    strengths = [f"sampler.{name}.strength=0.5" for name in ("vgps", "qgf")]
    settings = read_command("evaluate", [*arguments, *STRENGTHS, *strengths])
    assert settings.task.name == task
    samplers = settings.build_samplers()
    for name, sampler in samplers.items():
        fields = {key: value for key, value in settings.sampler[name].items() if key != "_target_"}
        assert vars(sampler) == fields, "a sampler's fields ARE its configuration"


def test_options_reach_the_settings() -> None:
    arguments = ["samplers=[qpilots_u,unsteered]", "sampler.qpilots_u.strength=0.5", "sampler.qpilots_u.jacobian=false"]
    settings = read_command(
        "evaluate", [*arguments, "episodes=7", "seed=3", "workers=2", "output=here", "task.stepping=stock"]
    )
    assert tuple(settings.sampler) == ("qpilots_u", "unsteered")
    assert settings.sampler["qpilots_u"]["strength"] == 0.5
    assert settings.sampler["qpilots_u"]["jacobian"] is False
    assert (settings.episodes, settings.seed, settings.workers) == (7, 3, 2)
    assert settings.output == Path("here")
    assert settings.task.stored() == {"name": "can", "stepping": "stock"}


@pytest.mark.parametrize("command", ["evaluate", "sweep", "learn"])
def test_a_batch_that_is_given_counts_for_each_worker(command: str) -> None:
    asked = ["policy=tests.toy_models:ToyDenoiser", "samplers=[best_of_n]"]
    assert read_command(command, asked).each is None
    settings = read_command(command, [*asked, "batch=8"])
    assert (settings.batch, settings.each) == (8, 8)


def test_an_option_that_came_later_is_stored_only_where_it_changes_something() -> None:
    """Runs, sweeps and learning folders from before it go on, and are the same setup as new ones."""
    for given, stored in (([], {}), (["sampler.qpilots_u.keep_best=true"], {"keep_best": True})):
        for name, options in {
            "eval": read_command("evaluate", ["sampler=qpilots_u", *given]).stored()["sampler"],
            "learn": read_command("learn", ["sampler=qpilots_u", *given]).stored()["sampler"],
            "sweep": conditions_of(read_command("sweep", ["sampler=qpilots_u", *given]), {}).options,
        }.items():
            found = {option: value for option, value in options["qpilots_u"].items() if option == "keep_best"}
            assert found == stored, name


def test_one_sampler_is_picked_like_any_other_group() -> None:
    assert list(read_command("evaluate", ["sampler=unsteered"]).sampler) == ["unsteered"]
    assert list(read_command("sweep", ["sampler=qpilots_u"]).sampler) == ["qpilots_u"]


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (
            "task=cam",
            f"task is cam; accepted: {ALL_TASKS}, {TARGETS} (did you mean can?)",
        ),
        ("taks=can", "(did you mean task?)"),
        (
            "polcy=flow",
            "unknown option polcy; accepted: task, policy, posterior, device, checkpoints, critic, samplers, ",
        ),
        ("task.env=Stack", "env is 'Stack' for task 'can'; accepted for tasks 'robosuite' and 'ogbench' alone"),
        ("task.gain=0", "gain is 0; accepted: a number above 0, at most 2"),
        ("task.gain=true", "gain is True; accepted: a number above 0, at most 2"),
        (
            "task.size=3",
            "task 'can' takes no option size; accepted: index, perturbation, env, instruction, gain, sparse, stepping",
        ),
        ("task.stepping=slow", "stepping is 'slow'; accepted: fast, stock"),
        ("policy=flaw", "policy is flaw; accepted: diffusion, flow, flow_weak, mini_vla, "),
        ("policy=flaw", f"lerobot, openpi, {TARGETS}, a checkpoint in {ROOT}/can (did you mean flow?)"),
        ("policy.size=3", "policy.size: policy=flow takes no options"),
        ("policy=./no.py:build", "no.py is no Python file"),
        ("critic.size=3", "critic.size: critic=default takes no options"),
        (
            "critic=x",
            "critic is x; accepted: default, flow_weak, flow_weak_monte_carlo, mini_vla, mini_vla_strong, none, ",
        ),
        ("critic=iql", "sim-eval train stage=critic writes iql, monte_carlo and sarsa"),
        ("device=gpu", "device is gpu; accepted: auto, cpu, cuda"),
        ("sampler.mine.strength=3", "sampler.mine.strength is of no sampler that runs; samplers is [unsteered, "),
        ("strengths=no.yaml", "no.yaml cannot be read"),
        ("samplers=[unsteerd]", "samplers is unsteerd; accepted: "),
        ("samplers=[unsteered,unsteered]", "samplers is [unsteered,unsteered]: each may be picked once"),
        ("samplers=[]", "samplers is []; accepted: a list with at least one entry"),
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
        ("episodes=[1", "episodes is [1; accepted: a whole number"),
        ("episodes=1,2", "episodes is 1,2; accepted: a whole number"),
        ("sampler.best_of_n.n=0", "sampler.best_of_n: "),
        ("sampler.best_of_n.n=x", "sampler.best_of_n.n is x; accepted: a whole number"),
        ("sampler.qpilots_u.strength=high", "sampler.qpilots_u.strength is high; accepted: a number"),
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
    assert message(only_flow).endswith("; sim-eval train stage=critic writes iql, monte_carlo and sarsa")
    assert read_command("evaluate", [*only_flow, "critic=none"]).critic is None


def test_options_of_a_critic_that_takes_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "critic.safetensors").touch()
    for critic in ("none", str(tmp_path)):
        told = message(["samplers=[unsteered]", f"critic={critic}", "critic.size=3"])
        assert told == f"critic.size: critic={critic} takes no options"


def test_an_option_of_a_sampler_that_does_not_run_is_refused() -> None:
    told = message(["samplers=[unsteered]", "sampler.qpilots_u.strength=3"])
    assert told == "sampler.qpilots_u.strength is of no sampler that runs; samplers is [unsteered]"


def test_samplers_from_outside_take_their_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    mine = ["samplers=[unsteered,./mine.py:Mine]", "sampler.mine.strength=1e-1", "sampler.mine.names=[a,b]"]
    settings = read_command("evaluate", mine)
    assert tuple(settings.sampler) == ("unsteered", "mine")
    assert settings.sampler["mine"] == {"_target_": f"{tmp_path}/mine.py:Mine", "strength": 0.1, "names": ["a", "b"]}
    assert vars(settings.build_samplers()["mine"]) == {"strength": 0.1, "names": ["a", "b"]}
    assert "mine.py:Mine needs strength; give sampler.mine.strength=VALUE" in message(mine[:1])
    assert message([*mine, "sampler.mine.strength=-1"]) == "sampler.mine: negative"
    assert "each may be picked once, mine names two" in message(["samplers=[./mine.py:Mine,mine.py:mine]"])
    table = tmp_path / "strengths.yaml"
    table.write_text("can: {flow: {policy: a, critic: b, strengths: {mine: 0.3}}}\n")
    assert read_command("evaluate", [mine[0], f"strengths={table}"]).sampler["mine"]["strength"] == 0.3


def test_models_and_tasks_from_outside_are_stored_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    arguments = ["task=./mine.py:Task", "task.size=2", "policy=~/mine.py:build", "policy.a.b=x", "critic=none"]
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = read_command("evaluate", [*arguments, "samplers=[unsteered]", "output=run"])
    assert settings.task_name == "mine.Task"
    assert settings.task.factory()() == 2
    stored = settings.stored()
    assert stored["task"] == {"name": "mine.Task", "target": f"{tmp_path}/mine.py:Task", "options": {"size": 2}}
    assert (stored["policy"], stored["policy_target"]) == ("mine", f"{tmp_path}/mine.py:build")
    assert (stored["policy_options"], stored["critic"]) == ({"a": {"b": "x"}}, None)
    assert "posterior" not in stored
    assert "takes no option seize; accepted: size" in message([*arguments, "task.seize=2"])


def test_a_list_needs_no_brackets() -> None:
    for asked in (
        ["samplers=unsteered,best_of_n"],
        ["samplers=[unsteered,best_of_n]"],
        ["samplers=[unsteered, best_of_n]"],
    ):
        assert tuple(read_command("evaluate", asked).sampler) == ("unsteered", "best_of_n")
    assert read_command("sweep", ["sampler=qpilots_u", "strengths=1,2.5"]).strengths == (1.0, 2.5)
    assert read_command("plan", ["episodes=25"]).episodes == (25,)


@pytest.mark.parametrize("told", ["open drawer #1", "0123", "12e4567", "a: b, [c]", "true", "null", "${x}", "it's = 1"])
def test_a_text_is_taken_as_it_is_typed(told: str) -> None:
    task = read_command("evaluate", [f"task.instruction={told}", "samplers=unsteered"]).task
    assert task.stored()["instruction"] == told


OWN = """
def build(device, revision: str, size: int = 1, cameras=None, path: str | None = None): ...
"""


def test_options_of_components_are_typed_as_their_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    given = ["policy.revision=0123", "policy.size=3", "policy.cameras={a:b}", "policy.path=12e4567"]
    asked = read_command("evaluate", ["policy=./own.py:build", *given, "critic=none", "samplers=unsteered"])
    assert asked.policy.options == {"revision": "0123", "size": 3, "cameras": {"a": "b"}, "path": "12e4567"}


def test_a_text_of_a_task_can_be_stored() -> None:
    """As a plain text, which YAML has, and not as what the command line made of it."""
    asked = read_command("evaluate", ["task=robosuite", "task.env=Stack", "policy=mini_vla", "samplers=unsteered"])
    assert type(asked.task.options["env"]) is str


def test_values_from_python_are_checked_like_those_of_the_command_line() -> None:
    asked = from_values(EvaluateOptions, samplers=["unsteered"], episodes=3, output="here")
    assert (asked.episodes, asked.output, tuple(asked.sampler)) == (3, Path("here"), ("unsteered",))
    for option, value in (("episodes", "3"), ("episodes", 0), ("seed", True), ("until", "never"), ("colour", "red")):
        with pytest.raises(RunError, match=option):
            from_values(EvaluateOptions, **{"samplers": ["unsteered"], option: value})


def test_the_names_that_commands_know_without_loading_torch_are_those_of_the_code() -> None:
    assert set(names.METHODS) == set(OBJECTIVES)
    assert list(names.STAGES) == list(STAGES)
    assert list(store.FAMILIES) == list(FAMILIES)
