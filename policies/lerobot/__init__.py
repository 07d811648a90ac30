"""LeRobot's checkpoints as frozen policies: `policy=lerobot policy.path=FOLDER_OR_HUB_ID[@REVISION]`.

SmolVLA, pi0 and pi0.5 (flow.py) and LeRobot's diffusion policy (diffusion.py) expose their denoising and can be
steered. Others that draw chunks (black_box.py) run unsteered and under best_of_n. Needs the package lerobot: 0.4.4 on
Python 3.11, where pi0 and pi0.5 do not work, or 0.6.1 on 3.12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from policies.errors import PolicyError
from policies.lerobot.black_box import LeRobotSampling
from policies.lerobot.checkpoint import folder_of, load_policy, read_config
from policies.lerobot.diffusion import LeRobotDiffusion
from policies.lerobot.features import observation_map
from policies.lerobot.flow import KINDS, FlowVLA
from policies.lerobot.graphs import cuda_graph
from policies.lerobot.precision import check_dtype, check_vision, set_precision, set_vision
from policies.lerobot.processors import Processors


def build(
    path: str,
    device: torch.device | str = "cpu",
    execute: int | None = None,
    dtype: str | None = None,
    vlm: str | None = None,
    cameras: Mapping[str, str] | None = None,
    state: Sequence[str] | None = None,
    environment: Sequence[str] = (),
    image_size: int | None = None,
    image_orientation: str = "rotated",
    graphs: bool = True,
    vision: str | None = None,
) -> FlowVLA | LeRobotDiffusion | LeRobotSampling:
    """A checkpoint as a policy, by default under LIBERO's protocol as LeRobot evaluates it.

    path: a folder as `save_pretrained` writes it with the two processors, or OWNER/NAME[@REVISION] of the hub.
    execute: actions per decision; by default the checkpoint's `n_action_steps`.
    dtype: float32 or bfloat16 for a VLA's weights; by default as the checkpoint stores them.
    vlm: folder or hub id of the vision-language model's configuration and tokenizer, by default the checkpoint's. Its
        weights are never fetched.
    cameras: image observation to the checkpoint's feature; by default LIBERO's two.
    state, environment: names of the vectors that observation.state and observation.environment_state join;
        ":axis_angle" after a name turns a quaternion into an axis times an angle. By default LIBERO's 8 numbers.
    image_size: pixels; by default the size of the checkpoint's images.
    image_orientation: as in `ObservationRequest`.
    graphs: on CUDA, replay what a decision computes as CUDA graphs, see graphs.py. Elsewhere nothing changes.
    vision: tf32 or bfloat16 for the arithmetic of a VLA's vision tower; by default its weights' format.

    Raises PolicyError for a checkpoint or an option that cannot be used.
    """
    check_dtype(dtype)
    check_vision(vision)
    if not isinstance(graphs, bool):
        raise PolicyError(f"policy.graphs={graphs}; accepted: true, false")
    place = torch.device(device)
    folder = folder_of(str(path))
    config = read_config(folder, place, vlm)
    if hasattr(config, "dtype") and dtype is not None:
        config.dtype = dtype
    if dtype == "bfloat16" and config.type not in KINDS:
        raise PolicyError(f"policy.dtype=bfloat16: a checkpoint of type {config.type} runs in float32 alone")
    if vision is not None and config.type not in KINDS:
        raise PolicyError(f"policy.vision={vision}: a checkpoint of type {config.type} has no vision tower")
    observations = observation_map(config, cameras, state, environment, image_size, image_orientation)
    policy = load_policy(folder, config)
    processors = Processors(folder, config, place, vlm, config.action_feature.shape[0])
    actions = execute or config.n_action_steps
    capture = cuda_graph if graphs and place.type == "cuda" else None
    if config.type in KINDS:
        set_precision(policy, config, folder, dtype)
        set_vision(policy, vision)
        denoiser: FlowVLA | LeRobotDiffusion = FlowVLA(policy, processors, observations, actions, capture)
    elif config.type == "diffusion":
        denoiser = LeRobotDiffusion(policy, processors, observations, actions, capture)
    else:
        return LeRobotSampling(policy, processors, observations, actions)
    used = {"graphs": graphs if place.type == "cuda" else None, "vision": vision}
    denoiser.computation = {name: value for name, value in used.items() if value is not None}
    return denoiser
