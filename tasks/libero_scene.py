"""Build the LIBERO environment of a BDDL file, and name the asset files that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasks.libero_files import asset_folder
from tasks.libero_import import load_libero
from tasks.panda_task import CONTROL_HZ
from tasks.random_state import seeded
from tasks.robosuite_import import load_robosuite
from tasks.simulated_task import release_free_memory
from tasks.task import TaskError

#: Seeds the first placement, which every reset replaces; nothing else about LIBERO's models is random.
_MODEL_SEED = 0
#: How many missing asset files an error message names; it counts the others.
_NAMED = 5


def build_scene(bddl: Path, horizon: int) -> Any:
    """LIBERO's environment without a renderer, its fixtures where its MJCF files put them.

    Fixtures must be there before every reset, because LIBERO places objects relative to them; LIBERO's own resets
    compile the whole model again instead. `horizon`: control steps. Raises TaskError naming the missing asset files.
    """
    assets = asset_folder()
    domain, robosuite = load_libero(assets), load_robosuite()
    problem = domain.BDDLUtils.get_problem_info(str(bddl))["problem_name"]
    kind = domain.TASK_MAPPING[problem]
    env = kind.__new__(kind)
    compile_model = env._initialize_sim
    poses: list[np.ndarray] = []

    def compile_checked(xml_string: str | None = None) -> None:
        # MuJoCo stops at the first missing file; report them all.
        _refuse_missing(env.model.root, assets)
        compile_model(xml_string)
        poses.extend((env.sim.model.body_pos.copy(), env.sim.model.body_quat.copy()))

    # The constructor compiles the model and then places everything; this is the only hook in between.
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
    # Hide sites, as robosuite's reset does: they are visual aids, not part of the scene.
    env.visualize(vis_settings=dict.fromkeys(env._visualizations, False))
    env.sim.model.body_pos[:], env.sim.model.body_quat[:] = poses
    release_free_memory()
    return env


def _refuse_missing(root: Any, assets: Path) -> None:
    """Raise TaskError for missing files of the MJCF element `root`, whose file names are absolute."""
    files = {Path(element.get("file")) for element in root.iter() if element.get("file")}
    missing = sorted(file for file in files if not file.is_file())
    if missing:
        raise TaskError(_missing(missing, assets))


def _missing(files: list[Path], assets: Path) -> str:
    names = [str(file.relative_to(assets)) if file.is_relative_to(assets) else str(file) for file in files]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"the LIBERO assets in {assets} lack {', '.join(names[:_NAMED])}{more}"
