"""LIBERO from primitives: everything is there, and it behaves as the real assets do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

import tasks
from tasks import EpisodeKey
from tasks.libero_assets import LITE
from tasks.libero_lite import LITE_SUITES, write_lite
from tasks.libero_suites import INIT_STATES, SUITES, task_files
from tests.libero_assets import ASSETS, needs_assets

ALL = [(suite, index) for suite in LITE_SUITES for index in range(SUITES[suite].tasks)]
#: Between them they hold every object and fixture; the last has a bowl on the stove.
SOME = [("libero_goal", 0), ("libero_object", 1), ("libero_object", 3), ("libero_spatial", 7)]
IDLE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])


def build(suite: str, index: int, assets: str = LITE) -> Any:
    return tasks.make(suite, index=index, assets=assets)


def reset(task: Any, env_seed: int) -> Any:
    return task.reset(EpisodeKey(task.name, 0, env_seed, 0))


# With neither network nor real assets --------------------------------------------------------------------


def test_whatever_the_30_tasks_name_is_written(tmp_path: Path) -> None:
    write_lite(tmp_path)
    written = {path.stem for path in tmp_path.rglob("*.xml")}
    for suite, index in ALL:
        text = task_files(SUITES[suite], index).bddl.read_text()
        named = {
            line.split(" - ")[1].strip()
            for section in re.findall(r"\(:(?:objects|fixtures)(.*?)\)", text, re.DOTALL)
            for line in section.strip().splitlines()
        }
        assert named - {"table", "floor"} <= written


@pytest.mark.parametrize("suite", LITE_SUITES)
def test_an_expert_solves_it_and_its_video_shows_it(suite: str) -> None:
    task = build(suite, 0)
    assert task.assets == LITE
    for env_seed in (0, 1):
        expert = tasks.expert(suite, np.random.default_rng(env_seed))
        observation = reset(task, env_seed)
        expert.reset(observation)
        step = task.step(expert.act(observation))
        before = task.frame("agentview", 64)
        while not step.done:
            step = task.step(expert.act(step.observation))
        assert step.success
        assert np.abs(task.frame("agentview", 64).astype(int) - before).max() > 50
    task.close()


def test_the_knob_turns_the_stove_on() -> None:
    task = build("libero_goal", 7)
    reset(task, 0)
    knob = task._env.sim.model.get_joint_qpos_addr("flat_stove_1_button")
    task._data.qpos[knob] = 1.0
    assert task.step(IDLE).success
    task.close()


@pytest.mark.parametrize(
    ("suite", "index"), [pytest.param(*one, marks=[] if one in SOME else [pytest.mark.slow]) for one in ALL]
)
def test_resets_settles_steps_and_renders(suite: str, index: int) -> None:
    task = build(suite, index)
    for env_seed in (0, INIT_STATES - 1, 12345):
        observation = reset(task, env_seed)
        assert np.abs(task._data.qvel).max() < 1.0
        assert observation["object"].shape == (task.observation_sizes["object"],)
    for action in np.random.default_rng(index).uniform(-1.0, 1.0, (20, 7)):
        step = task.step(action)
        assert all(np.isfinite(value).all() for value in step.observation.values())
    for camera in task.cameras:
        assert task.frame(camera, 128).std() > 5.0
    task.close()


# Against the real assets ---------------------------------------------------------------------------------


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=[] if one in SOME else [pytest.mark.slow]) for one in ALL], ids=str
)
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """The same task on the real assets and on lite."""
    suite, index = request.param
    pair = build(suite, index, str(ASSETS)), build(suite, index)
    yield pair
    for task in pair:
        task.close()


@needs_assets
def test_bodies_joints_and_sites_are_the_real_ones(both: tuple[Any, Any]) -> None:
    real, lite = (task._model for task in both)
    assert (real.nq, real.nv) == (lite.nq, lite.nv)
    assert [real.body(b).name for b in range(real.nbody)] == [lite.body(b).name for b in range(lite.nbody)]
    for field in ("jnt_type", "jnt_range", "jnt_axis", "dof_damping", "dof_armature", "dof_frictionloss"):
        np.testing.assert_array_equal(getattr(real, field), getattr(lite, field))
    assert [real.joint(j).name for j in range(real.njnt)] == [lite.joint(j).name for j in range(lite.njnt)]
    sites = [{model.site(s).name: model.site(s) for s in range(model.nsite)} for model in (real, lite)]
    assert sites[0].keys() == sites[1].keys()
    for name, site in sites[0].items():
        for field in ("type", "pos", "quat", "size"):
            np.testing.assert_allclose(getattr(site, field), getattr(sites[1][name], field), atol=1e-5, err_msg=name)


@needs_assets
def test_what_moves_weighs_and_measures_the_same(both: tuple[Any, Any]) -> None:
    real, lite = (task._model for task in both)
    for body in moving(real):
        name = real.body(body).name
        np.testing.assert_allclose(lite.body_mass[body], real.body_mass[body], rtol=0.01, err_msg=name)
        np.testing.assert_allclose(lite.body_ipos[body], real.body_ipos[body], atol=0.001, err_msg=name)
        for ours, theirs in zip(extent(lite, body), extent(real, body), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=0.0025, err_msg=name)


@needs_assets
def test_settles_where_the_real_ones_do(both: tuple[Any, Any]) -> None:
    for env_seed in (0, 17):
        observed = [reset(task, env_seed)["object"] for task in both]
        real, lite = (task._data for task in both)
        for body in moving(both[0]._model):
            name = both[0]._model.body(body).name
            if both[0].name == "libero_spatial_5" and name.startswith("akita_black_bowl_1"):
                continue  # dropped from 11 cm onto the ramekin, where it comes to lie askew as chance has it
            np.testing.assert_allclose(lite.xpos[body][2], real.xpos[body][2], atol=0.0015, err_msg=name)
            np.testing.assert_allclose(lite.xpos[body][:2], real.xpos[body][:2], atol=0.01, err_msg=name)
        if both[0].name != "libero_spatial_5":
            np.testing.assert_allclose(observed[1], observed[0], atol=0.02)


def moving(model: Any) -> list[int]:
    """The bodies that have a joint, the robot's left out."""
    names = [model.body(body).name for body in range(model.nbody)]
    own = ("robot", "mount", "gripper")
    return [body for body, name in enumerate(names) if model.body_dofnum[body] and not name.startswith(own)]


def extent(model: Any, body: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the box around a body's colliding geoms, in its frame, m."""
    corners = []
    for geom in range(model.ngeom):
        if model.geom_bodyid[geom] == body and model.geom_contype[geom]:
            turn = np.empty(9)
            mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
            half = np.abs(turn.reshape(3, 3)) @ model.geom_aabb[geom, 3:]
            corners += [model.geom_pos[geom] - half, model.geom_pos[geom] + half]
    return np.min(corners, axis=0), np.max(corners, axis=0)
