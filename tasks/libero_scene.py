"""Build a LIBERO environment for one BDDL file, and say which asset files it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasks.libero_files import asset_folder
from tasks.libero_import import load_libero
from tasks.panda_task import CONTROL_HZ, release_free_memory
from tasks.random_state import seeded
from tasks.robosuite_import import load_robosuite
from tasks.task import TaskError

#: LIBERO's models hold nothing random; the first placement, which every reset replaces, is drawn with this seed.
_MODEL_SEED = 0
#: Missing asset files that an error message names before it only counts them.
_NAMED = 5


def build_scene(bddl: Path, horizon: int) -> Any:
    """LIBERO's environment with no renderer, its fixtures where its MJCF files put them.

    Fixtures have to be there before every reset: LIBERO draws what stands on or in a fixture relative to that
    place. Its own resets compile the whole model anew. Raises TaskError naming the asset files that are missing.
    """
    assets = asset_folder()
    domain, robosuite = load_libero(assets), load_robosuite()
    problem = domain.BDDLUtils.get_problem_info(str(bddl))["problem_name"]
    kind = domain.TASK_MAPPING[problem]
    env = kind.__new__(kind)
    compile_model = env._initialize_sim
    poses: list[np.ndarray] = []

    def compile_checked(xml_string: str | None = None) -> None:
        # MuJoCo stops at the first file that it misses: look for all of them before it does.
        _refuse_missing(env.model.root, assets)
        compile_model(xml_string)
        poses.extend((env.sim.model.body_pos.copy(), env.sim.model.body_quat.copy()))

    # The constructor compiles the model and places everything at once: this is the only moment in between.
    env._initialize_sim = compile_checked
    with seeded(_MODEL_SEED):
        try:
            env.__init__(
                str(bddl),
                robots=["Panda"],
                controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
                gripper_types="default",
                initialization_noise=None,
                use_camera_obs=False,
                has_renderer=False,
                has_offscreen_renderer=False,
                control_freq=CONTROL_HZ,
                horizon=horizon,
                ignore_done=True,
                hard_reset=False,
            )
        except FileNotFoundError as absent:  # an object's or arena's MJCF file, which LIBERO opens itself
            raise TaskError(_missing([Path(absent.filename)], assets)) from None
    # As robosuite's reset does: sites are aids for the eye, not part of the scene.
    env.visualize(vis_settings=dict.fromkeys(env._visualizations, False))
    env.sim.model.body_pos[:], env.sim.model.body_quat[:] = poses
    release_free_memory()
    return env


def _refuse_missing(root: Any, assets: Path) -> None:
    """`root` is the model's MJCF element, whose file names are absolute."""
    files = {Path(element.get("file")) for element in root.iter() if element.get("file")}
    missing = sorted(file for file in files if not file.is_file())
    if missing:
        raise TaskError(_missing(missing, assets))


def _missing(files: list[Path], assets: Path) -> str:
    names = [str(file.relative_to(assets)) if file.is_relative_to(assets) else str(file) for file in files]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"the LIBERO assets in {assets} lack {', '.join(names[:_NAMED])}{more}"
