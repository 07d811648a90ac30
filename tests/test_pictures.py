"""Camera images: those of LIBERO's own environment pixel for pixel, in each orientation, with and without extras."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tasks
from policies.observation import ObservationRequest
from tasks import EpisodeKey, Task, TaskError, rendering
from tests.shared_tasks import shared_task

NAMES = ("agentview_image", "robot0_eye_in_hand_image")


@pytest.fixture(scope="module")
def task() -> Task:
    made = tasks.make("libero_goal")
    made.reset(EpisodeKey("libero_goal", 0, 3, 0))
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (6, 7)):
        made.step(action)
    return made


def test_pictures_equal_those_of_libero_s_own_environment() -> None:
    """In a process of its own, as robosuite chooses its GL library when it is imported."""
    answer = subprocess.run([sys.executable, "-m", "tests.libero_pictures"], capture_output=True, text=True)
    assert answer.stdout.splitlines() == [f"{name} equal" for name in NAMES * 2], answer.stderr


def test_rotated_and_upright_are_the_opengl_picture_turned(task: Task) -> None:
    drawn = {
        orientation: task.observe(ObservationRequest(NAMES, image_size=96, image_orientation=orientation))
        for orientation in ("opengl", "rotated", "upright")
    }
    for name in NAMES:
        opengl = drawn["opengl"][name]
        np.testing.assert_array_equal(drawn["rotated"][name], opengl[::-1, ::-1])
        np.testing.assert_array_equal(drawn["upright"][name], opengl[::-1])
        np.testing.assert_array_equal(drawn["upright"][name], task.frame(name.removesuffix("_image"), 96))


def test_reflections_and_multisampling_are_drawn_as_asked_for_each_picture(task: Task) -> None:
    def draw(reflections: bool, multisampling: bool) -> np.ndarray:
        request = ObservationRequest(NAMES[:1], image_size=96, reflections=reflections, multisampling=multisampling)
        return task.observe(request)[NAMES[0]]

    kinds = [(True, True), (False, True), (True, False), (False, False)]
    first, again = ([draw(*kind) for kind in order] for order in (kinds, reversed(kinds)))
    assert len({picture.tobytes() for picture in first}) == 4
    for picture, repeated in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(picture, repeated)


@pytest.mark.parametrize("name", ["square", "libero_goal"])
def test_leaving_out_what_a_camera_cannot_see_changes_no_pixel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shared_task(name)
    request = ObservationRequest(NAMES, image_size=64, reflections=False, multisampling=False)
    culled, left_out = rendering.out_of_view, 0
    rng = np.random.default_rng(0)
    shown.reset(EpisodeKey(name, 0, 2**31 + 1, 0))
    for action in rng.uniform(-1.0, 1.0, (6, 7)):
        for _ in range(6):
            shown.step(action)
        quick = shown.observe(request)
        left_out += int(culled(shown._model, shown._data, 0).sum())
        with monkeypatch.context() as patch:
            patch.setattr(rendering, "out_of_view", lambda model, data, camera: np.zeros(model.ngeom, bool))
            full = shown.observe(request)
        for picture in NAMES:
            np.testing.assert_array_equal(quick[picture], full[picture])
    assert left_out > 0


def test_the_wrist_camera_moves_with_the_hand(task: Task) -> None:
    """mj_step leaves a moving camera where it was before the last substep."""
    import mujoco

    moved = task.observe(ObservationRequest(NAMES, image_size=96))
    mujoco.mj_forward(task._model, task._data)  # type: ignore[attr-defined]
    for name, picture in task.observe(ObservationRequest(NAMES, image_size=96)).items():
        np.testing.assert_array_equal(moved[name], picture)


def test_sizes_that_cannot_be_drawn_are_refused(task: Task) -> None:
    with pytest.raises(TaskError, match="image size is 4000; accepted: a whole number of pixels from 1 to 2048"):
        task.observe(ObservationRequest(NAMES, image_size=4000))


def test_names_in_one_string_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names='agentview_image': accepted is a tuple of names"):
        ObservationRequest("agentview_image")  # type: ignore[arg-type]


def test_tasks_of_one_model_share_their_meshes_and_textures() -> None:
    first, second = (tasks.make("lift") for _ in range(2))
    request = ObservationRequest(NAMES, image_size=64)
    for made in (first, second):
        made.reset(EpisodeKey("lift", 0, 1, 0))
    before = len(rendering._SHARED)
    seen = [made.observe(request) for made in (first, second)]
    assert len(rendering._SHARED) <= before + 1
    first.close()
    for name in NAMES:
        np.testing.assert_array_equal(seen[0][name], seen[1][name])
        np.testing.assert_array_equal(second.observe(request)[name], seen[1][name])
    second.close()
