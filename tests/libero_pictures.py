"""Compare our camera images with those of LIBERO's `OffScreenRenderEnv`; `tests/test_pictures.py` runs this."""

from __future__ import annotations

import os
from typing import Any

SIZE = 128


def own_environment() -> Any:
    """LIBERO's environment with its two cameras, as its own evaluations build it."""
    import robosuite  # noqa: F401 - before ours, which hides GL from it

    from tasks.libero_files import asset_folder, task_files
    from tasks.libero_import import load_libero
    from tasks.libero_suites import SUITES

    domain: Any = load_libero(asset_folder())
    import libero.libero.envs as package

    package.TASK_MAPPING = domain.TASK_MAPPING  # the only name that env_wrapper takes from its package
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    bddl = task_files(SUITES["libero_goal"], 0).bddl
    env = OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=SIZE, camera_widths=SIZE)
    env.reset()
    return env


def main() -> None:
    os.environ["MUJOCO_GL"] = "egl"
    env = own_environment()
    import numpy as np

    import tasks
    from policies.observation import ObservationRequest

    names = ("agentview_image", "robot0_eye_in_hand_image")
    task: Any = tasks.make("libero_goal")
    task.reset(tasks.EpisodeKey("libero_goal", 0, 3, 0))
    for action in (np.zeros(7), np.array([0.3, -0.2, -0.5, 0.1, 0.4, -0.3, 1.0])):
        for _ in range(8):
            task.step(action)
        # LIBERO draws its fixtures' places at a reset and keeps them outside its states.
        env.sim.model.body_pos[:], env.sim.model.body_quat[:] = task._model.body_pos, task._model.body_quat
        env.sim._render_context_offscreen.gl_ctx.make_current()
        theirs = env.set_init_state(np.concatenate([[0.0], task._data.qpos, task._data.qvel]))
        ours = task.observe(ObservationRequest(names, image_size=SIZE, image_orientation="opengl"))
        for name in names:
            print(name, "equal" if np.array_equal(ours[name], theirs[name]) else "differs", flush=True)
    os._exit(0)  # robosuite's contexts print tracebacks while the interpreter shuts down


if __name__ == "__main__":
    main()
