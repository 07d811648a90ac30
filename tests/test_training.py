"""Training end to end on a real task, in miniature; and the options of training and sweeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from sim_eval.commands.cli import read_command
from sim_eval.commands.train import RECIPES as RECIPES_FILE
from sim_eval.config.components import Component
from sim_eval.evaluation.sweep import conditions_of
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import load_yaml
from sim_eval.foundation.files import sha256
from sim_eval.models.build import build_models
from sim_eval.models.store import ALL_TASKS, ROOT, shared_policies
from sim_eval.models.strengths import EVERY_TASK, SHIPPED
from sim_eval.runs.sweeps import (
    RESULTS,
    Sweep,
    Trial,
    check_published,
    chosen,
    left_out,
    publish,
    read_sweep,
    smallest_near_best,
    tried_everywhere,
)
from sim_eval.samplers import QPilotsM, Unsteered
from sim_eval.training import critic, posterior
from sim_eval.training.stages import run_stages
from sim_eval.training.trajectories import read_hdf5

MINIATURE = [
    "task=lift", "stage=all", "demos=3", "rollouts=2", "policy_steps=20", "critic_steps=20", "posterior_steps=20",
    "posterior_samples=16", "batch=32", "workers=1", "seed=5",
]  # fmt: skip


def test_every_stage_runs_and_its_checkpoints_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior, "COMPARED_STATES", 4)
    monkeypatch.setattr(critic, "SPREAD_STATES", 32)
    settings = read_command("train", [*MINIATURE, f"data={tmp_path}/data", f"checkpoints={tmp_path}/checkpoints"])
    demos, *others = settings.stage
    run_stages([demos], settings.workspace(), settings.recipe(), settings.workers)
    run_stages(others, settings.workspace(), settings.recipe(), workers=0)  # quicker, and the same
    for policy in ("flow", "diffusion"):
        needs = frozenset({"critic", "posterior"})
        models = build_models(
            "lift", Component(policy), Component("critic"), Component("default"), needs, tmp_path / "checkpoints"
        )
        sizes = models.policy.observation_sizes
        observation = {name: np.zeros((8, size), np.float32) for name, size in sizes.items()}
        chunks = Unsteered()(models, observation, [torch.Generator().manual_seed(0)] * 8)
        assert chunks.shape == (8, 8, 7)
        assert torch.isfinite(chunks).all()
    card = json.loads((tmp_path / "checkpoints" / "lift" / "critic_iql.json").read_text())
    assert {"auc", "auc_first_40"} == set(card["held_out"])
    assert card["seed"] == 5
    assert set(card["data_sha256"]) == {"demos.hdf5", "rollouts_flow.hdf5"}
    card = json.loads((tmp_path / "checkpoints" / "lift" / "posterior_flow.json").read_text())
    for key in ("mean_gap", "mean_error", "spread", "gradient_cosine", "gradient_length"):
        assert set(card[key]) == {"0.1", "0.2", "0.5", "0.8"}
    assert len(read_hdf5(tmp_path / "data" / "lift" / "demos.hdf5")) == 3


HERE = Path(__file__).parent
OUTSIDE = [
    f"task={HERE}/toy_task.py:ToyTask", f"policy={HERE}/toy_models.py:ToyDenoiser", "stage=rollouts,critic,posterior",
    "rollouts=4", "critic_steps=20", "posterior_steps=20", "posterior_samples=16", "batch=32", "workers=0",
    "critic_methods=[monte_carlo]",
]  # fmt: skip


@pytest.mark.parametrize("inputs", ["state", "features"])
def test_a_critic_and_a_posterior_net_for_a_policy_from_outside(tmp_path: Path, inputs: str) -> None:
    """From its own rollouts alone; then they steer it."""
    folders = [f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine"]
    settings = read_command("train", [*OUTSIDE, *folders, f"critic.inputs={inputs}"])
    assert settings.stage == ("rollouts", "critic", "posterior")
    run_stages(settings.stage, settings.workspace(), settings.recipe(), settings.workers)
    needs = frozenset({"critic", "posterior"})
    policy = settings.recipe().policies[0]
    models = build_models(
        "toy_task", policy, Component("critic"), Component("default"), needs, tmp_path / "mine", "cpu"
    )
    assert models.critic is not None
    assert models.critic.uses_features == (inputs == "features")
    observation = {name: np.ones((8, 2), np.float32) for name in ("position", "goal")} | {"time": np.ones((8, 1))}
    generators = [torch.Generator().manual_seed(row) for row in range(8)]
    assert torch.isfinite(QPilotsM(strength=0.5)(models, observation, generators)).all()
    other = replace(policy, options={"horizon": 4})
    with pytest.raises(RunError, match=r"was trained from another toy_models\.ToyDenoiser policy; train it again"):
        build_models("toy_task", other, None, Component("default"), needs, tmp_path / "mine", "cpu")


@pytest.mark.parametrize("won", [True, False])
def test_training_says_why_there_is_no_score_and_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], won: bool
) -> None:
    """Rollouts of one outcome; evaluations take the folder of all checkpoints, and that of the task."""
    folders = [f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine"]
    settings = read_command("train", [*OUTSIDE, *folders])
    run_stages(["rollouts"], settings.workspace(), settings.recipe(), settings.workers)
    path = tmp_path / "data" / "toy_task" / "rollouts_toy_models.ToyDenoiser.hdf5"
    with h5py.File(path, "r+") as file:
        for name in file["data"]:
            file["data"][name]["rewards"][-1] = float(won)
    capsys.readouterr()
    run_stages(["critic"], settings.workspace(), settings.recipe(), settings.workers)
    said, folder = capsys.readouterr().out, tmp_path / "mine" / "toy_task"
    few = "0 failed" if won else "0 succeeded"
    assert f"warning: of 4 rollouts in {path}, " in said
    assert few in said
    assert f"toy_task monte_carlo critic in {folder}/critic.safetensors\n" in said
    missing = "failed" if won else "succeeded"
    assert f"on 1 held-out rollouts: no area under the ROC curve, for none of these 1 {missing}\n" in said
    assert f"to use the checkpoint critic: sim-eval evaluate critic={folder}, with the same task, policy" in said
    for named in (folder, tmp_path / "mine"):
        asked = read_command("evaluate", [*OUTSIDE[:2], f"critic={named}", "samplers=[best_of_n]"])
        models = asked.build_models(asked.build_samplers().values())
        assert models.fingerprints["critic"]
        assert models.critic is not None


def test_a_folder_of_train_holds_the_critics_of_several_policies() -> None:
    """The one of this policy is taken; a folder without one is refused by name."""
    for policy, name in (("flow", "critic"), ("flow_weak", "critic_flow_weak")):
        for named in (ROOT, ROOT / "can"):
            asked = read_command("evaluate", ["task=can", f"policy={policy}", f"critic={named}"])
            models = asked.build_models(asked.build_samplers().values())
            stored = json.loads((ROOT / "can" / f"{name}.json").read_text())
            assert models.critic.config.method == stored["config"]["method"]
    with pytest.raises(RunError, match=f"critic is {ROOT}/all_tasks; accepted: .* a folder of sim-eval learn or train"):
        read_command("evaluate", ["task=can", f"critic={ROOT}/all_tasks"])


def test_a_folder_without_a_critic_of_the_task_names_the_command_that_trains_one(tmp_path: Path) -> None:
    asked = read_command("evaluate", [*OUTSIDE[:2], f"checkpoints={tmp_path}", "samplers=[unsteered,best_of_n]"])
    with pytest.raises(
        RunError,
        match=rf"has no critic for task toy_task; accepted: .*`sim-eval train .*checkpoints={tmp_path}` trains",
    ):
        asked.build_models(asked.build_samplers().values())


def test_what_is_told_of_a_shipped_policy_without_a_critic_ends_with_the_command() -> None:
    asked = read_command(
        "evaluate", ["task=libero_goal", "task.index=3", "policy=mini_vla_strong", "samplers=best_of_n"]
    )
    with pytest.raises(RunError, match=r"policy=mini_vla_strong stage=rollouts,critic` trains$"):
        asked.build_models(asked.build_samplers().values())


def test_an_own_policy_gets_the_one_critic_that_evaluations_read(tmp_path: Path) -> None:
    def methods(*options: str) -> tuple[str, ...]:
        return tuple(read_command("train", [*options, f"checkpoints={tmp_path}"]).recipe().critic_methods)

    assert methods(*OUTSIDE[:2]) == ("monte_carlo",)
    assert methods(*OUTSIDE[:2], "ship_critic=outcome") == ("outcome",)
    assert methods("task=can") == ("monte_carlo", "sarsa", "iql")


def test_a_policy_without_features_is_refused_before_it_is_rolled_out(tmp_path: Path) -> None:
    asked = [*OUTSIDE, f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine"]
    settings = read_command("train", [*asked, f"policy={HERE}/toy_models.py:ToyPolicy"])
    with pytest.raises(RunError, match=r"policy toy_models\.ToyPolicy is no Denoiser with features, .*posterior=flow"):
        run_stages(settings.stage, settings.workspace(), settings.recipe(), workers=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["critic", "posterior"])
def test_rollouts_of_another_policy_are_refused(tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior, "COMPARED_STATES", 4)
    folders = [f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine"]
    settings = read_command("train", [*OUTSIDE, *folders, "rollouts=2"])
    run_stages(["rollouts"], settings.workspace(), settings.recipe(), workers=0)
    (policy,) = settings.recipe().policies
    (path,) = (tmp_path / "data" / "toy_task").glob("rollouts_*.hdf5")
    with h5py.File(path) as file:
        played_by = file["data"].attrs["policy_sha256"]
    other = replace(settings.recipe(), policies=[replace(policy, options={"horizon": 4})])
    message = (
        rf"{path} holds rollouts of policy {played_by}, and policy .* is now [0-9a-f]{{64}}; accepted: .*=rollouts"
    )
    with pytest.raises(RunError, match=message):
        run_stages([stage], settings.workspace(), other, workers=0)
    assert not (tmp_path / "mine").exists()
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["policy_sha256"]  # as in files of earlier versions
    run_stages([stage], settings.workspace(), other, workers=0)
    assert list((tmp_path / "mine" / "toy_task").glob(f"{stage}*.safetensors"))


def test_a_policy_that_draws_one_chunk_in_a_state_gets_no_critic(tmp_path: Path) -> None:
    asked = [*OUTSIDE, f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine", "critic_steps=1000000000"]
    settings = read_command("train", [*asked, f"policy={HERE}/toy_models.py:ToyWithoutNoise"])
    message = (
        r"policy toy_models\.ToyWithoutNoise draws the same chunk every time in a state, .*; accepted: a policy that"
    )
    with pytest.raises(RunError, match=message):
        run_stages(["rollouts", "critic"], settings.workspace(), settings.recipe(), workers=0)
    assert not (tmp_path / "mine").exists()


def test_a_critic_learns_from_demonstrations_too(tmp_path: Path) -> None:
    folders = [f"data={tmp_path}/data", f"checkpoints={tmp_path}/mine"]
    demos = tmp_path / "human.hdf5"
    for stage, options in (("rollouts", []), ("critic", [f"critic.demos=[{demos}]"])):
        settings = read_command("train", [*OUTSIDE, *folders, f"stage={stage}", *options])
        run_stages(settings.stage, settings.workspace(), settings.recipe(), settings.workers)
        (rollouts,) = (tmp_path / "data" / "toy_task").glob("rollouts_*.hdf5")
        shutil.copy(rollouts, demos)
    card = json.loads((tmp_path / "mine" / "toy_task" / "critic.json").read_text())
    assert set(card["data_sha256"]) == {"human.hdf5", rollouts.name}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage=demos", "checkpoints=mine"], "stage is demos, and policy=.* is trained elsewhere; accepted: rollouts"),
        ([], "checkpoints is not given; accepted: checkpoints=DIR"),
        (["checkpoints=mine", "demos=50"], "demos is 50, and policy is .*ToyDenoiser; accepted: one of the two"),
        (["checkpoints=mine", "families=[flow]"], r"families is \[flow\], and policy is "),
        (["checkpoints=mine", "sloppy=.3"], "sloppy is 0.3, and policy is "),
        (["checkpoints=mine", "policy_steps=100"], "policy_steps is 100, and policy is "),
        (["checkpoints=mine", "critic.inputs=pixels"], "critic.inputs is pixels; accepted: state, features"),
        (["checkpoints=mine", "critic.demos=[no.hdf5]"], "critic.demos names no.hdf5, which is no file"),
        (["checkpoints=mine", "critic.demos=[a]", "critic.inputs=features"], "accepted with it: critic.inputs=state"),
    ],
)
def test_what_does_not_go_with_a_policy_from_outside(arguments: list[str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_command("train", [*OUTSIDE[:2], *arguments])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("stage=polcy", "stage is polcy; accepted: demos, policy, .* mean policy"),
        ("families=[flow,gan]", "families is gan; accepted: flow, diffusion"),
        ("critic_methods=[td3]", "critic_methods is td3; accepted: monte_carlo, monte_carlo_return, sarsa, iql"),
        ("ship_critic=td3", "ship_critic is td3; accepted"),
        (
            "critic_methods=outcome ship_critic=outcome critic.actions_everywhere=true",
            "critic.actions_everywhere is true",
        ),
        ("demos=0", "demos is 0; accepted: a whole number of at least 1"),
        ("critic_steps=10", "critic_steps is 10; accepted: a whole number of at least 20"),
        ("rollouts=1", "rollouts is 1; accepted: a whole number of at least 2"),
        ("sloppy=1.5", "sloppy is 1.5; accepted: 0 to 1"),
        ("task=lft", "task is lft; accepted: .*lift"),
        ("policy.size=5", r"policy.size is given, and policy is null; accepted with it: policy=package.module:NAME"),
        ("epochs=3", "unknown option epochs; accepted"),
    ],
)
def test_a_bad_training_option_is_named(argument: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_command("train", argument.split())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("samplers=[dsrl]", "samplers is dsrl; accepted: best_of_n, vgps, value_guided, qgf, qpilots_u, qpilots_m"),
        ("strengths=[]", "strengths is"),
        ("strengths=[-1]", r"strengths is \[-1\]; accepted: a finite number of at least 0"),
        ("critic=none", "critic is none"),
        ("critic=iql", "critic is iql; accepted: .* sim-eval train stage=critic writes iql"),
        ("episodes=0", "episodes is 0"),
        (
            "sampler.qpilots_u.strength=0.77",
            r"qpilots_u.strength is given, and strengths=\[0.1,0.3,0.6,1,2\] are tried; accepted: what to try in",
        ),
    ],
)
def test_a_bad_sweep_option_is_named(argument: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_command("sweep", [argument])


MODELS = {"policy": "a", "critic": "b"}


def trial(sampler: str, strength: float, successes: int) -> Trial:
    return Trial(sampler, strength, 50, successes, (0.0, 1.0), 0.0)


def added(path: Path, models: dict[str, str], *trials: Trial, arguments: Sequence[str] = ()) -> Sweep:
    """What is published after `trials`."""
    settings = read_command("sweep", ["task=lift", *arguments])
    return publish(path, replace(conditions_of(settings, models), trials=trials))


def test_the_best_strength_is_chosen_and_every_one_published(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lift.json"
    first = added(path, MODELS, trial("qpilots_u", 0.3, 40), trial("qpilots_u", 1.0, 30))
    assert read_sweep(path) == first
    later = trial("qpilots_u", 0.6, 40), trial("qpilots_m", 0.3, 9), trial("qpilots_u", 1.0, 31)
    everything = added(path, {**MODELS, "posterior": "c"}, *later)
    assert everything.checkpoints == {**MODELS, "posterior": "c"}
    assert [(t.sampler, t.strength, t.successes) for t in everything.trials] == [
        ("qpilots_m", 0.3, 9), ("qpilots_u", 0.3, 40), ("qpilots_u", 0.6, 40), ("qpilots_u", 1.0, 31),
    ]  # fmt: skip
    best = chosen(everything.trials)
    assert best == {"qpilots_u": 0.3, "qpilots_m": 0.3}  # of equals the smallest


@pytest.mark.parametrize(
    ("arguments", "models", "message"),
    [
        (["seed=9"], MODELS, "seed 0, 9 was asked"),
        (["episodes=5"], MODELS, "episodes 50, 5 was asked"),
        (["task.stepping=stock"], MODELS, r"task options \{\}, \{'stepping': 'stock'\} was asked"),
        (["task.instruction=up"], MODELS, r"task options \{\}, \{'instruction': 'up'\} was asked"),
        (["sampler.qpilots_u.steps=4"], MODELS, r"sampler.qpilots_u .*'steps': 10.*, .*'steps': 4.* was asked"),
        ([], {**MODELS, "critic": "new"}, "checkpoint critic b, new was asked"),
    ],
)
def test_trials_of_other_episodes_or_models_are_not_mixed(
    tmp_path: Path, arguments: list[str], models: dict[str, str], message: str
) -> None:
    path = tmp_path / "lift.json"
    added(path, MODELS, trial("qpilots_u", 0.3, 40))
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"lift.json holds trials with {message}"):
        added(path, models, trial("qpilots_u", 1.0, 5), arguments=arguments)
    assert path.read_bytes() == before
    path.write_text("{}")
    with pytest.raises(RunError, match=r"lift\.json holds no sweep"):
        added(path, MODELS)
    with pytest.raises(RunError, match=r"cannot write .*: File exists"):
        added(path / "below.json", MODELS)


def test_a_sweep_file_tells_variants_of_a_task_apart(tmp_path: Path) -> None:
    path = tmp_path / "lift.json"
    stock = added(path, MODELS, trial("qpilots_u", 0.3, 40), arguments=["task.stepping=stock"])
    assert stock.task_options == {"stepping": "stock"}
    assert added(path, MODELS, trial("qpilots_u", 1.0, 9), arguments=["task.stepping=stock"]).trials[0] in stock.trials
    with pytest.raises(RunError, match=r"holds trials with task options \{'stepping': 'stock'\}, \{\} was asked"):
        added(path, MODELS, arguments=["task.stepping=fast"])
    models = [f"policy={HERE}/toy_models.py:ToyDenoiser", f"critic={HERE}/toy_models.py:ToyCritic"]
    own = read_command("sweep", [f"task={HERE}/toy_task.py:ToyTask", "task.step_s=0.5", *models])
    assert conditions_of(own, MODELS).task_options == {"step_s": 0.5}


def test_a_sweep_file_of_an_earlier_version_is_of_the_default_task(tmp_path: Path) -> None:
    path = tmp_path / "libero_goal.json"
    shutil.copy(RESULTS / "libero_goal-flow-critic.json", path)
    earlier = read_sweep(path)
    assert earlier is not None
    for arguments in ([], ["task.index=0"], ["task.stepping=fast"]):
        settings = read_command("sweep", ["task=libero_goal", "samplers=[qpilots_u]", *arguments])
        assert check_published(path, conditions_of(settings, earlier.checkpoints)) == earlier
    settings = read_command("sweep", ["task=libero_goal", "samplers=[qpilots_u]", "task.stepping=stock"])
    with pytest.raises(RunError, match=r"'stepping': 'stock'.* was asked"):
        check_published(path, conditions_of(settings, earlier.checkpoints))


RECIPES = load_yaml(RECIPES_FILE)


@pytest.mark.parametrize("task", sorted(RECIPES.keys() - {"ogbench"}))  # whose policies are not shipped
def test_shipped_policies_were_trained_by_their_recipes(task: str) -> None:
    named = {"": RECIPES[task]} | {f"_{name}": part for name, part in RECIPES[task].items() if isinstance(part, dict)}
    for suffix, recipe in named.items():
        for family in recipe["families"]:
            card = json.loads((ROOT / task / f"{family}{suffix}.json").read_text())
            assert card["task"] == task
            assert card["training"]["demonstrations"] == recipe["demos"]
            assert card["training"]["steps"] == recipe["policy_steps"]


def test_a_variant_has_its_own_recipe_and_files() -> None:
    settings = read_command("train", ["task=can", "variant=weak", "demos=7"])
    assert [policy.label for policy in settings.recipe().policies] == ["flow_weak"]
    assert (settings.recipe().families, settings.recipe().demos) == (("flow",), 7)
    assert settings.recipe().policy_steps == RECIPES["can"]["weak"]["policy_steps"]
    assert settings.workspace().demos.name == "demos_weak.hdf5"
    assert read_command("train", ["task=can"]).recipe().policy_steps == RECIPES["can"]["policy_steps"]
    with pytest.raises(RunError, match="variant is poor; accepted: weak, null"):
        read_command("train", ["task=can", "variant=poor"])
    with pytest.raises(RunError, match="variant is weak, and policy is mini_vla; accepted: one of the two"):
        read_command("train", ["task=can", "variant=weak", "policy=mini_vla"])


def test_a_second_policy_is_valued_by_its_own_critic(tmp_path: Path) -> None:
    for name in ("flow", "critic", "flow_weak", "critic_flow_weak"):
        (tmp_path / "can").mkdir(exist_ok=True)
        (tmp_path / "can" / f"{name}.safetensors").touch()
    for policy, expected in (("flow", "critic"), ("flow_weak", "critic_flow_weak")):
        settings = read_command(
            "evaluate", ["task=can", f"policy={policy}", f"checkpoints={tmp_path}", "samplers=[best_of_n]"]
        )
        assert settings.critic is not None
        assert settings.critic.label == expected
    (tmp_path / "lift").mkdir()
    for file in ROOT.glob("lift/flow_weak.*"):
        shutil.copy(file, tmp_path / "lift")
    chosen_models = Component("flow_weak"), Component("critic_flow_weak"), Component("default")
    with pytest.raises(RunError, match=r"sim-eval train task=lift policy=flow_weak stage=rollouts,critic` trains"):
        build_models("lift", *chosen_models, frozenset({"critic"}), tmp_path)
    asked = read_command("train", ["task=lift", "policy=flow_weak", "stage=[rollouts,critic]"])
    assert [policy.label for policy in asked.recipe().policies] == ["flow_weak"]


#: The strengths that were tried with every critic of a name, at least.
_WIDE, _LOW = {0.1, 0.3, 0.6, 1.0, 2.0}, {0.15, 0.3, 0.6, 1.0}
GRIDS = {
    "critic": {"value_guided": _WIDE, "qpilots_u": _WIDE, "qpilots_m": _WIDE},
    "critic_mini_vla": {"value_guided": {0.1, 0.3}, "qpilots_u": _LOW, "qpilots_m": _LOW},
}
SWEEPS = sorted(path for critic in GRIDS for path in RESULTS.glob(f"*-{critic}.json"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweeps_are_of_the_shipped_checkpoints_all_on_one_grid_and_more(path: Path) -> None:
    task, policy, critic = path.stem.split("-")
    published = read_sweep(path)
    assert published is not None
    for name, grid in GRIDS[critic].items():
        assert grid <= {trial.strength for trial in published.trials if trial.sampler == name}
    files = {"policy": policy, "critic": critic, "posterior": f"posterior_{policy}"}
    of_all_tasks = policy in shared_policies(ROOT)
    folders = {"policy": ROOT / (ALL_TASKS if of_all_tasks else task)}
    shipped = {role: sha256(folders.get(role, ROOT / task) / f"{x}.safetensors") for role, x in files.items()}
    assert shipped.items() <= published.checkpoints.items()


def test_the_shipped_strengths_are_chosen_over_all_sweeps() -> None:
    sweeps = [sweep for path in SWEEPS if (sweep := read_sweep(path)) is not None]
    samplers = GRIDS["critic"]
    assert len(sweeps) == 15
    shared = {name: smallest_near_best(tried_everywhere(sweeps, name)) for name in samplers}
    assert {name: load_yaml(SHIPPED)[EVERY_TASK][name] for name in samplers} == shared


def _trial(strength: float, successes: int, episodes: int = 50) -> Trial:
    return Trial("qpilots_u", strength, episodes, successes, (0.0, 1.0), 0.0)


def test_the_smallest_strength_within_a_standard_error_is_chosen() -> None:
    """libero_object's M: 38, 38, 39 and 40 of 50 are the same; 30 is not."""
    counts = {0.3: 30, 0.6: 38, 1.0: 38, 2.0: 39, 4.0: 40}
    assert chosen(_trial(strength, count) for strength, count in counts.items()) == {"qpilots_u": 0.6}
    surer = {strength: [_trial(strength, 100 * count, 5000)] for strength, count in counts.items()}
    assert smallest_near_best(surer) == 4.0


def test_a_left_out_sweep_has_no_say_in_its_strength() -> None:
    sweeps = [
        Sweep("tune", 0, 50, {}, {}, (_trial(1.0, low), _trial(2.0, high)))
        for low, high in ((10, 40), (40, 10), (41, 9))
    ]
    trials = tried_everywhere(sweeps, "qpilots_u")
    assert [trial.successes for trial in left_out(trials)] == [10, 40, 41]
    with pytest.raises(RunError, match="no strength of vgps was tried in all 3 sweeps"):
        tried_everywhere(sweeps, "vgps")
