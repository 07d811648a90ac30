"""A critic that learns while it steers: what it learns depends neither on processes nor on interruptions."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from critics.ensemble import EnsembleCritic
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import load_yaml
from sim_eval.foundation.files import sha256
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.models.strengths import SHIPPED
from sim_eval.samplers import QPilotsU
from sim_eval.training.exploring import Exploring
from sim_eval.training.online import learn
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import cut
from sim_eval.training.trajectories import read_hdf5
from tests.small_models import random_observation, row_generators, small_models

HERE = Path(__file__).parent
TOY = [
    f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser", "samplers=[qpilots_u]",
    "sampler.qpilots_u.strength=0.5", "steps=200", "rollouts=6", "round=4", "evaluate=100", "episodes=4", "rows=32",
    "heads=2", "pessimism=0.5", "updates=20", "workers=0",
]  # fmt: skip


def settings(output: Path, *changes: str) -> LearnOptions:
    return read_command("learn", [*TOY, *changes, f"output={output}"])


def learned(output: Path) -> tuple[list[dict], str]:
    """The curve, and the hash of the critic's weights."""
    return json.loads((output / "curve.json").read_text()), sha256(output / "critic.safetensors")


def learn_until(file: str, script: str, output: Path) -> None:
    """Run the script, which is given the folder `output`, in a process that is killed once `file` is there."""
    process = subprocess.Popen([sys.executable, "-c", script, str(output)], cwd=HERE.parent)
    while not (output / file).exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("learned") / "run"
    learn(settings(output))
    return output


def test_the_curve_starts_at_zero_and_ends_at_the_steps(reference: Path) -> None:
    curve, _ = learned(reference)
    steps = [point["steps"] for point in curve]
    assert steps[0] == 0
    assert steps[-1] >= 200
    assert steps == sorted(set(steps))
    assert all(later // 100 > earlier // 100 for earlier, later in itertools.pairwise(steps[:-1]))
    assert all(len(point["outcomes"]) == 4 for point in curve)
    assert [len(point.get("unsteered", [])) for point in curve] == [4, *(0 for _ in curve[1:])]


def test_the_result_depends_on_neither_workers_nor_batch(reference: Path, tmp_path: Path) -> None:
    learn(settings(tmp_path, "workers=2"))
    assert learned(tmp_path) == learned(reference)


def test_a_killed_run_goes_on_to_the_same_result(reference: Path, tmp_path: Path) -> None:
    script = "import sys; from tests.test_learning import *\nlearn(settings(Path(sys.argv[1])))"
    learn_until("replay/00001.hdf5", script, tmp_path)  # while it fits after the first round, or plays the second
    assert learned(tmp_path)[0] != learned(reference)[0], "killed in the middle"
    learn(settings(tmp_path))
    assert learned(tmp_path) == learned(reference)


@pytest.mark.parametrize(
    "target", ["sim_eval.training.learner.save_checkpoint", "sim_eval.training.online_folder.torch.save"]
)
def test_a_run_killed_at_an_evaluation_goes_on_to_the_same_result(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Before the critic is written, and before the state is: at the first evaluation, and at the last one."""
    last = learned(reference)[0][-1]["steps"]
    write = save_checkpoint if target.endswith("checkpoint") else torch.save

    def killed(*arguments: Any, **options: Any) -> None:
        steps = arguments[3]["steps"] if target.endswith("checkpoint") else evaluated(arguments[0])
        if steps in pending:
            pending.remove(steps)
            raise KeyboardInterrupt
        write(*arguments, **options)

    def evaluated(progress: dict[str, Any]) -> int | None:
        curve = progress["curve"]
        return curve[-1]["steps"] if curve and curve[-1]["steps"] == progress["steps"] else None

    pending = [0, last]
    monkeypatch.setattr(target, killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            learn(settings(tmp_path))
    assert pending == []
    learn(settings(tmp_path))
    assert learned(tmp_path) == learned(reference)


def test_a_damaged_state_is_a_users_error(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / "run")
    state = tmp_path / "run" / "state.pt"
    for content in (b"", b"text", bytes(range(256)) * 20, state.read_bytes()[:-100]):
        state.write_bytes(content)
        with pytest.raises(RunError, match=r"state\.pt is damaged or another program's"):
            learn(settings(tmp_path / "run"))
    torch.save({"rounds": 1}, state)
    with pytest.raises(RunError, match=r"state\.pt is damaged or another program's \('curve'\)"):
        learn(settings(tmp_path / "run"))
    (tmp_path / "run" / "options.json").write_text("[1]")
    with pytest.raises(RunError, match="the content is"):
        learn(settings(tmp_path / "run"))


def test_another_simulator_is_another_run(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / "run")
    path = tmp_path / "run" / "options.json"
    options = json.loads(path.read_text())
    assert options["simulator"]["mujoco"] == importlib.metadata.version("mujoco")
    path.write_text(json.dumps({**options, "simulator": {"mujoco": "2.0"}}))
    with pytest.raises(RunError, match=r"was made otherwise: simulator is \{'mujoco': '2.0'\} there"):
        learn(settings(tmp_path / "run"))
    del options["simulator"]  # earlier versions stored none
    path.write_text(json.dumps(options))
    learn(settings(tmp_path / "run"))


def test_a_run_that_was_fitted_on_another_device_is_another_run(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / "run")
    path = tmp_path / "run" / "options.json"
    options = json.loads(path.read_text())
    assert "device" not in options
    path.write_text(json.dumps({**options, "device": "cuda"}))
    with pytest.raises(RunError, match=r"was made otherwise: device is cuda there, None asked; accepted: another"):
        learn(settings(tmp_path / "run"))


def test_more_steps_go_on_from_the_end(reference: Path, tmp_path: Path) -> None:
    learn(settings(tmp_path, "steps=100", "evaluate=600"))
    learn(settings(tmp_path, "evaluate=600"))
    assert learned(tmp_path)[1] == learned(reference)[1]


def test_an_evaluation_reads_the_learned_critic(reference: Path) -> None:
    """`critic=FOLDER`, under any sampler, at any strength."""
    asked = read_command("evaluate", [*TOY[:2], f"critic={reference}", "samplers=[best_of_n]"])
    models = asked.build_models(asked.build_samplers().values())
    assert isinstance(models.critic, EnsembleCritic)
    assert models.critic.config.pessimism == 0.5
    assert models.critic.config.heads == 2
    stored = load_file(reference / "critic.safetensors")
    torch.testing.assert_close(models.critic.scale, stored["scale"])


@pytest.mark.parametrize(("sampler", "need"), [("dsrl", "noise_actor"), ("edit", "edit_actor")])
def test_an_actor_learns_beside_the_critic(tmp_path: Path, sampler: str, need: str) -> None:
    """The actor moves on after the first fit, a run that goes on gives the same one, and evaluations read it."""
    toy = [argument for argument in TOY if "qpilots_u" not in argument] + [f"samplers=[{sampler}]", "evaluate=1000"]
    hashes = []
    for steps in (0, 300):
        for name in ("at_once", "in_two"):
            if steps or name == "in_two":
                learn(read_command("learn", [*toy, f"steps={steps}", f"output={tmp_path / name}"]))
                hashes.append(sha256(tmp_path / name / f"{need}.safetensors"))
    first, at_once, in_two = hashes
    assert first != at_once == in_two
    asked = read_command("evaluate", [*TOY[:2], f"critic={tmp_path / 'in_two'}", f"samplers=[{sampler}]"])
    models = asked.build_models(asked.build_samplers().values())
    assert list(models.actors) == [need]
    assert need in models.fingerprints
    asked = read_command("evaluate", [*TOY[:2], "critic=none", f"samplers=[{sampler}]"])
    with pytest.raises(RunError, match=f"critic is none, and a sampler needs its {need}; accepted: the folder of a"):
        asked.build_models(asked.build_samplers().values())


def test_a_strength_is_chosen_on_the_tune_block_and_used_with_its_critic(tmp_path: Path) -> None:
    toy = [argument for argument in TOY if "strength" not in argument]
    chosen = [*toy, "strengths=[0.1,0.4]", "steps=0", f"output={tmp_path}"]
    learn(read_command("learn", chosen))
    (evaluation,), _ = learned(tmp_path)
    assert evaluation["strength"] in (0.1, 0.4)
    assert evaluation["critic"].keys() == {
        *("value_cross_entropy", "dynamics_r2_1", "dynamics_r2_2", "dynamics_r2_4", "value_r2"),
        "twin_agreement",
    }
    asked = read_command("evaluate", [*TOY[:2], f"critic={tmp_path}", "samplers=[qpilots_u,value_guided]"])
    assert asked.sampler["qpilots_u"]["strength"] == evaluation["strength"]
    assert asked.sampler["value_guided"]["strength"] == load_yaml(SHIPPED)["outcome"]["value_guided"]
    fingerprints = asked.build_models(asked.build_samplers().values()).fingerprints
    asked.check_tuned(fingerprints)
    beside = tmp_path / "strengths.yaml"
    beside.write_text(re.sub("critic: .*", "critic: abc", beside.read_text()))
    other = read_command("evaluate", [*TOY[:2], f"critic={tmp_path}", "samplers=[qpilots_u]"])
    with pytest.raises(RunError, match=r"the strength of sampler qpilots_u in .* was tuned for another critic"):
        other.check_tuned(fingerprints)


def test_an_episode_that_ends_in_an_error_is_left_out_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = [f"task={HERE}/toy_task.py:ToyTask", "task.crash=step"]
    learn(settings(tmp_path / "some", *task, "task.crash_in=[8,9]", "steps=200"))
    told = capsys.readouterr().err
    assert "left out: qpilots_u, episode 8: RuntimeError: the toy broke (toy_task.py:" in told
    assert "left out: qpilots_u, episode 9: " in told
    with pytest.raises(RunError, match=r"^every episode of the round ended in an error, see above: there is nothing"):
        learn(settings(tmp_path / "none", *task, "task.crash_in=[0,1,2,3,4,5]"))
    with pytest.raises(RunError, match=r"^qpilots_u, episode 3: RuntimeError: the toy broke"):
        learn(settings(tmp_path / "evaluated", *task, "task.crash_in=[3]"))


def test_training_episodes_are_cut_where_most_successes_have_ended(reference: Path) -> None:
    """And evaluations are not: the toy ends after 40 steps."""
    unsteered = read_hdf5(reference / "replay" / "00000.hdf5")
    lengths = sorted(len(episode.actions) for episode in unsteered if episode.success)
    limit = lengths[math.ceil(0.85 * len(lengths)) - 1]
    assert cut(unsteered) == limit
    steered = read_hdf5(reference / "replay" / "00001.hdf5")
    assert max(len(episode.actions) for episode in steered) <= limit < 40
    assert cut([replace(episode, success=False) for episode in unsteered]) is None


def test_exploring_steers_each_row_at_a_strength_of_its_own() -> None:
    """Each row as the sampler would at that strength; the share is the generator's first number."""
    models, observation = small_models("flow"), random_observation(8)
    explored = Exploring(QPilotsU(strength=2.0), most=1.5)(models, observation, row_generators(8))
    generators = row_generators(8)
    shares = [1.5 * torch.rand(1, generator=generator).item() for generator in generators]
    for row in range(8):
        generators = row_generators(8)
        for generator in generators:
            torch.rand(1, generator=generator)
        alone = QPilotsU(strength=2.0 * shares[row])(models, observation, generators)
        torch.testing.assert_close(explored[row], alone[row], atol=1e-4, rtol=1e-4)


def test_a_critic_can_go_on_from_its_weights(tmp_path: Path) -> None:
    """`refit=false`: another critic than a new one, the same after an interruption."""
    hashes = []
    for name, change in (("anew", "refit=true"), ("on", "refit=false"), ("in_two", "refit=false")):
        if name == "in_two":
            learn(settings(tmp_path / name, change, "steps=0"))
        learn(settings(tmp_path / name, change, "steps=100"))
        hashes.append(learned(tmp_path / name)[1])
    assert hashes[0] != hashes[1] == hashes[2]


def test_another_run_is_not_continued(reference: Path) -> None:
    with pytest.raises(RunError, match="was made otherwise: heads is 2 there, 3 asked; accepted: another output"):
        learn(settings(reference, "heads=3"))


def test_models_that_do_not_fit_are_refused_before_anything_is_played(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="sampler qpilots_u needs a Denoiser"):
        learn(settings(tmp_path, f"policy={HERE}/toy_models.py:ToyPolicy"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("method=td3", "method is td3; accepted: monte_carlo, monte_carlo_return, sarsa, iql, outcome"),
        ("samplers=[qpilots_u,unsteered]", r"samplers is \[qpilots_u,unsteered\]; accepted: one sampler"),
        ("sampler.qpilots_u.strength=-1", "strength=-1: accepted is a finite number of at least 0"),
        ("critic=iql", "unknown option critic; accepted"),
        ("critic.foo=3", "unknown option critic.foo; accepted"),
        ("steps=-1", "steps is -1; accepted: a whole number of at least 0"),
        ("pessimism=-1", "pessimism is -1; accepted: a finite number of at least 0"),
        ("updates=all", "updates is all; accepted"),
        ("updates=0.1", "updates is 0.1; accepted: a whole number"),
        ("best_of_n=2", "best_of_n is 2; accepted: 0 to 1"),
        (
            "sampler.qpilots_u.scale=matched",
            "explore is 1.5, and sampler.qpilots_u.scale is matched, on which the size",
        ),
        ("strengths=[1,-1]", r"strengths is \[1,-1\]; accepted: a finite number of at least 0"),
    ],
)
def test_a_bad_option_is_named(tmp_path: Path, argument: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        settings(tmp_path, argument).build_sampler()


@pytest.mark.parametrize("damage", ["missing", "truncated", "no card", "bad card", "no curve"])
def test_an_ended_run_writes_missing_and_damaged_files_again(reference: Path, tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    weights, card, curve = run / "critic.safetensors", run / "critic.json", run / "curve.json"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "bad card":
        card.write_text("{")
    else:
        {"missing": weights, "no card": card, "no curve": curve}[damage].unlink()
    learn(settings(run))
    assert learned(run) == learned(reference)
    before = json.loads((reference / "critic.json").read_text())
    assert json.loads(card.read_text()) == before | {"command": json.loads(card.read_text())["command"]}
    asked = read_command("evaluate", [*TOY[:2], f"critic={run}", "samplers=[best_of_n]"])
    assert asked.build_models(asked.build_samplers().values()).critic is not None


def test_an_ended_run_writes_its_strengths_again(tmp_path: Path) -> None:
    toy = [*(argument for argument in TOY if "strength" not in argument), "strengths=[0.1,0.4]", "steps=0"]
    learn(read_command("learn", [*toy, f"output={tmp_path}"]))
    before = (tmp_path / "strengths.yaml").read_bytes()
    (tmp_path / "strengths.yaml").unlink()
    learn(read_command("learn", [*toy, f"output={tmp_path}"]))
    assert (tmp_path / "strengths.yaml").read_bytes() == before


def test_a_round_that_steps_do_not_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn(settings(tmp_path, "steps=20", "evaluate=1000"))
    said = capsys.readouterr().err
    told = re.search(
        r"steps is 20, and rounds are played whole: 4 episodes are some (\d+) steps; fewer with round=N", said
    )
    assert told is not None
    assert 40 < int(told[1]) <= 160
    assert re.search(
        r"of 6 unsteered episodes, \d succeeded and \d failed: a critic learns little from fewer than 10", said
    )
    learn(settings(tmp_path, "steps=20", "evaluate=1000"))
    assert capsys.readouterr().err == "", "an ended run lacks nothing"
