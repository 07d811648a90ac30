"""LeRobot's diffusion policy and ACT, checkpoints that cannot be used, and a run from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny_lerobot
from policies.errors import PolicyError
from policies.lerobot import build, library
from policies.lerobot.black_box import LeRobotSampling
from policies.lerobot.diffusion import LeRobotDiffusion
from policies.lerobot.row_noise import generator_of
from policies.lerobot.same_input import same_input
from policies.posterior_flow import PosteriorFlow
from sim_eval.commands import cli
from sim_eval.runs.reader import read_run
from sim_eval.samplers import BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from sim_eval.samplers.denoise import initial_noise
from tests.small_models import row_generators
from tests.test_lerobot_vla import NearCritic

pytestmark = pytest.mark.usefixtures("offline")

DDPM = {"noise_scheduler_type": "DDPM", "num_inference_steps": None}
CLEAN = {"prediction_type": "sample", "clip_sample": False, "beta_schedule": "linear"}


@pytest.fixture(scope="module")
def smolvla(offline: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lerobot.smolvla(tmp_path_factory.mktemp("smolvla"))


@pytest.fixture(scope="module")
def act(offline: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lerobot.act(tmp_path_factory.mktemp("act"))


@pytest.fixture(scope="module")
def ddim(offline: None, tmp_path_factory: pytest.TempPathFactory) -> LeRobotDiffusion:
    return diffusion(tmp_path_factory.mktemp("ddim"))


def diffusion(folder: Path, **options: Any) -> LeRobotDiffusion:
    policy = build(str(tiny_lerobot.diffusion(folder, **options)))
    assert isinstance(policy, LeRobotDiffusion)
    return policy


def librarys_chunk(policy: LeRobotDiffusion, observation: dict[str, Any], steps: int) -> Tensor:
    """What the library executes of its chunk, from `row_generators`' noise, after two observations in its queues."""
    inner: Any = policy.policy
    inner.diffusion.num_inference_steps = steps
    inner.reset()
    populate = library.module("policies.utils").populate_queues
    for seen in range(2):
        step = {name: values[:, seen] if name != "instruction" else values for name, values in observation.items()}
        batch = policy._processors.observation(tiny_lerobot.libero_batch(step))
        batch.pop("action")  # None, as LeRobot's `select_action` removes it
        batch["observation.images"] = torch.stack([batch[name] for name in inner.config.image_features], dim=-4)
        inner._queues = populate(inner._queues, batch)
    noise = initial_noise(policy, row_generators(len(observation["instruction"])))
    return inner.predict_action_chunk(batch, noise=policy.library_noise(noise))


@pytest.mark.parametrize("steps", [7, 10])
@pytest.mark.parametrize("options", [{}, CLEAN], ids=["noise", "clean action"])
def test_the_diffusion_loop_is_the_librarys_bit_for_bit(tmp_path: Path, options: dict[str, Any], steps: int) -> None:
    policy, observation = diffusion(tmp_path, **options), tiny_lerobot.observations(2, history=2)
    chunk = Unsteered(steps)(Models(policy), observation, row_generators(2))
    assert torch.equal(chunk[:, : policy.execute], librarys_chunk(policy, observation, steps))


def test_ddpm_is_the_librarys_but_for_where_its_noise_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, observation = diffusion(tmp_path, **DDPM), tiny_lerobot.observations(2, history=2)
    chunk = Unsteered(steps=20)(Models(policy), observation, row_generators(2))
    generators = [generator_of(row) for row in initial_noise(policy, row_generators(2))]
    scheduling = sys.modules[type(policy._scheduler).__module__]
    draw = scheduling.randn_tensor

    def rows(shape: Any, generator: Any = None, **options: Any) -> Tensor:
        return draw(shape, generator=generators, **options)

    monkeypatch.setattr(scheduling, "randn_tensor", rows)
    assert torch.equal(chunk[:, : policy.execute], librarys_chunk(policy, observation, 20))


@pytest.mark.parametrize(
    "sampler", [ValueGuided(0.0), QPilotsU(0.0), QPilotsU(0.0, keep_best=True), QPilotsM(0.0, draws=2)], ids=repr
)
def test_strength_0_is_the_diffusion_policys_action(ddim: LeRobotDiffusion, sampler: Sampler) -> None:
    observation = tiny_lerobot.observations(2, history=2)
    models = Models(ddim, NearCritic(), PosteriorFlow(ddim, steps=2))
    chunk = sampler(models, observation, row_generators(2))
    assert torch.equal(chunk[:, : ddim.execute], librarys_chunk(ddim, observation, 10))


@pytest.mark.parametrize(
    "sampler",
    [BestOfN(n=4), ValueGuided(5.0), QPilotsU(5.0), QPilotsU(5.0, jacobian=False), QPilotsM(5.0, draws=2)],
    ids=repr,
)
def test_steering_raises_the_value_of_diffusion_chunks(ddim: LeRobotDiffusion, sampler: Sampler) -> None:
    observation = tiny_lerobot.observations(4, history=2)
    models, critic = Models(ddim, NearCritic(), PosteriorFlow(ddim, steps=2)), NearCritic()
    chunks = [draw(models, observation, row_generators(4)) for draw in (Unsteered(), sampler)]
    before, after = (critic.q(chunk, torch.zeros(4, 1)) for chunk in chunks)
    assert (after >= before - 1e-4).all()  # of n draws, the first may be the best
    assert after.mean() > before.mean() + 0.01


def test_the_diffusion_gradient_is_that_of_finite_differences(ddim: LeRobotDiffusion) -> None:
    context = ddim.encode(tiny_lerobot.observations(2, history=2))
    x, direction = torch.randn((2, 2, ddim.horizon, ddim.action_dim), generator=torch.Generator().manual_seed(3))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(ddim.clean(x, 0.49, context).square().sum(), x)
    with torch.no_grad():
        up, down = (ddim.clean(x + sign * 1e-2 * direction, 0.49, context).square().sum() for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((up - down) / 2e-2), rel=2e-3)


def test_the_noise_table_meets_its_levels_and_inverts(ddim: LeRobotDiffusion) -> None:
    table = ddim.schedule
    for level in (0, 37, 99):
        t = table.time_of(level)
        assert table.level(t) == level
        assert float(table.alpha(t)) ** 2 == pytest.approx(float(table.abar[level]), rel=1e-5)
    times = torch.linspace(0.05, 0.95, 7)
    assert torch.allclose(table.time(table.alpha(times) / table.sigma(times)), times, atol=1e-4)
    assert float(table.sigma(1.0)) == pytest.approx(0.0, abs=1e-7)


def test_act_runs_as_a_black_box(act: Path) -> None:
    policy, observation = build(str(act)), tiny_lerobot.observations(2)
    assert isinstance(policy, LeRobotSampling)
    chunks = policy.sample(observation, row_generators(2), copies=3)
    batch = policy._processors.observation(tiny_lerobot.libero_batch(observation))
    librarys: Any = policy.policy
    assert chunks.shape == (6, 5, 7)
    assert torch.allclose(chunks[::3], librarys.predict_action_chunk(batch), atol=1e-5)
    state = torch.get_rng_state()
    policy.sample(observation, row_generators(2))
    assert torch.equal(torch.get_rng_state(), state)


def changed(folder: Path, into: Path, weights: Any = None, config: dict[str, Any] | None = None) -> str:
    """A copy of a checkpoint, its weights mapped by `weights` and its configuration updated."""
    into.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (into / file.name).write_bytes(file.read_bytes())
    if weights is not None:
        save_file(weights(load_file(into / "model.safetensors")), into / "model.safetensors")
    if config is not None:
        (into / "config.json").write_text(json.dumps(json.loads((into / "config.json").read_text()) | config))
    return str(into)


LAYER = "model.action_in_proj.bias"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda state: {n: w for n, w in state.items() if n != LAYER}, rf"1 missing \({LAYER}\)"),
        (lambda state: {**state, "model.extra": state[LAYER].clone()}, r"1 unexpected \(model.extra\)"),
        (lambda state: {**state, LAYER: torch.zeros(3)}, rf"size mismatch for {LAYER}"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_that_do_not_fit_are_named(smolvla: Path, tmp_path: Path, weights: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        build(changed(smolvla, tmp_path / "changed", weights))


def test_the_backbone_that_training_began_from_is_not_fetched(
    act: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    path = changed(act, tmp_path / "act", config={"pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1"})
    build(path)
    assert not (tmp_path / "empty").exists()


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, smolvla: Path) -> None:
    with pytest.raises(PolicyError, match=r"has no config.json and no model.safetensors"):
        build(str(tmp_path))
    with pytest.raises(PolicyError, match=r"is no folder; accepted: a folder .* or OWNER/NAME"):
        build(str(tmp_path / "nowhere"))
    path = changed(smolvla, tmp_path / "old")
    (tmp_path / "old/policy_preprocessor.json").unlink()
    with pytest.raises(PolicyError, match=r"no policy_preprocessor.json: it was saved before LeRobot 0.4"):
        build(path)
    with pytest.raises(PolicyError, match=r'type is "nothing"; accepted of this LeRobot: .*smolvla'):
        build(changed(smolvla, tmp_path / "unknown", config={"type": "nothing"}))


def test_the_hub_out_of_reach_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(PolicyError, match=r"policy.path=someone/some@v1: not in the cache.*cannot be reached") as error:
        build("someone/some@v1")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cameras": {"agentview_image": "observation.images.front"}},
            r"reads observation.images.image, .*front from age",
        ),
        ({"state": ["robot0_eef_pos"]}, r"observation.state has 8 numbers, robot0_eef_pos have 3"),
        ({"environment": ["object"]}, r"this run feeds .*observation.environment_state from object"),
        ({"dtype": "float8"}, r"policy.dtype=float8; accepted: float32, bfloat16"),
    ],
)
def test_observations_and_options_that_do_not_fit(smolvla: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        build(str(smolvla), **options)


RUN = """
import dataclasses
import tasks

class Short:
    def __init__(self):
        self.task = tasks.make("TASK")
        self.spec = dataclasses.replace(self.task.spec, name="short", max_steps=4)

    def __getattr__(self, name):
        return getattr(self.task, name)

    def reset(self, key):
        self.task.reset(dataclasses.replace(key, task="TASK"))
        self.left = 4

    def step(self, action):
        outcome = self.task.step(action)
        self.left -= 1
        return dataclasses.replace(outcome, done=outcome.done or not self.left)

from sim_eval import Critic

class Low(Critic):
    def encode(self, observation, features):
        import torch
        return torch.from_numpy(observation["robot0_eef_pos"])

    observations = ("robot0_eef_pos",)

    def q(self, actions, encoded):
        return -actions[:, :, 2].mean(1)
"""


@pytest.mark.parametrize("task", ["lift", pytest.param("libero_goal", marks=pytest.mark.slow)])
def test_sim_eval_steers_a_smolvla(task: str, smolvla: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short.py").write_text(RUN.replace("TASK", task))
    monkeypatch.chdir(tmp_path)
    options = ["task=./short.py:Short", "critic=./short.py:Low", "policy=lerobot", f"policy.path={smolvla}"]
    options += [
        "samplers=[unsteered,qpilots_u]",
        "sampler.qpilots_u.strength=2",
        "episodes=1",
        "workers=0",
        "output=run",
    ]
    monkeypatch.setattr(sys, "argv", ["sim-eval", *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    records = {record.sampler: record for record in read_run(Path("run")).records}
    assert all(record.error is None and record.steps == 4 for record in records.values())
    values = {name: (record.q or (0.0,))[0] for name, record in records.items()}
    assert values["qpilots_u"] > values["unsteered"]


def test_the_same_memory_is_told_without_comparing_values(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(2, 3)
    kept = x.detach()
    assert same_input(kept, x.clone()), "equal values elsewhere"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "equal", None)
        assert same_input(kept, x)
        assert same_input(kept, x.detach().requires_grad_())
    assert not same_input(kept, x * 2)
    assert not same_input(kept, x[:1])
    assert not same_input(kept, x.t())
