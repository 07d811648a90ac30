"""Tiny LeRobot checkpoints with random weights, as `save_pretrained` writes them; nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from policies.lerobot import library

IMAGES = ("observation.images.image", "observation.images.image2")
SIZE = 32
#: Statistics of a made-up data set.
STATS = {
    "observation.state": {"mean": torch.linspace(-0.2, 0.4, 8), "std": torch.linspace(0.2, 1.0, 8)},
    "action": {"mean": torch.linspace(-0.1, 0.2, 7), "std": torch.linspace(0.2, 0.5, 7)},
}
RANGES = {
    name: {"min": stats["mean"] - stats["std"], "max": stats["mean"] + stats["std"]} for name, stats in STATS.items()
}
QUANTILES = {
    name: {**stats, "q01": stats["mean"] - 2 * stats["std"], "q99": stats["mean"] + 2 * stats["std"]}
    for name, stats in STATS.items()
}

#: Short chunks and small pictures for pi0 and pi0.5.
PI_SIZES: dict[str, Any] = {
    "chunk_size": 6,
    "n_action_steps": 4,
    "max_action_dim": 10,
    "max_state_dim": 12,
    "image_resolution": (SIZE, SIZE),
}


def observations(rows: int, history: int = 1, seed: int = 0) -> dict[str, Any]:
    """Made-up observations of LIBERO as the policies request them, with a different instruction in every row."""
    draws = np.random.default_rng(seed)
    shape = (rows,) if history == 1 else (rows, history)
    quaternions = draws.standard_normal((*shape, 4))
    return {
        "agentview_image": draws.integers(0, 256, (*shape, SIZE, SIZE, 3), dtype=np.uint8),
        "robot0_eye_in_hand_image": draws.integers(0, 256, (*shape, SIZE, SIZE, 3), dtype=np.uint8),
        "robot0_eef_pos": draws.standard_normal((*shape, 3)).astype(np.float32),
        "robot0_eef_quat": (quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)).astype(np.float32),
        "robot0_gripper_qpos": draws.standard_normal((*shape, 2)).astype(np.float32),
        "instruction": [f"open drawer {'number ' * row}{row}" for row in range(rows)],
    }


def libero_batch(observation: dict[str, Any]) -> dict[str, Any]:
    """The same observations, of one control step, on the way that LeRobot's own LIBERO environment takes them.

    That environment returns pictures turned by 180 degrees against those of the request, and nested robot states.
    """

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(observation[name])

    pictures = dict(zip(IMAGES, ("agentview_image", "robot0_eye_in_hand_image"), strict=True))
    raw: dict[str, Any] = {
        feature: tensor(name).flip(1, 2).permute(0, 3, 1, 2).contiguous().float() / 255
        for feature, name in pictures.items()
    }
    eef = {"pos": tensor("robot0_eef_pos"), "quat": tensor("robot0_eef_quat")}
    raw["observation.robot_state"] = {"eef": eef, "gripper": {"qpos": tensor("robot0_gripper_qpos")}}
    batch = library.module("processor.env_processor").LiberoProcessorStep().observation(raw)
    return {**batch, "task": list(observation["instruction"])}


def smolvla(folder: Path, seed: int = 0, **options: Any) -> Path:
    """A SmolVLA of 0.2 million weights for LIBERO's observations; its chunks have 6 steps."""
    module = library.module("policies.smolvla.modeling_smolvla")
    return save(folder, module.SmolVLAPolicy, smolvla_config(folder, **options), STATS, seed)


def smolvla_config(folder: Path, **options: Any) -> Any:
    """Its configuration; `folder` will hold the tokenizer."""
    return library.module("policies.smolvla.configuration_smolvla").SmolVLAConfig(
        **features(),
        **{
            "chunk_size": 6,
            "n_action_steps": 4,
            "max_action_dim": 10,
            "max_state_dim": 12,
            "resize_imgs_with_padding": (64, 64),
            "tokenizer_max_length": 48,
            "vlm_model_name": str(tiny_vlm(folder / "vlm")),
            "load_vlm_weights": False,
            "num_vlm_layers": 3,
            "self_attn_every_n_layers": 2,
            "device": "cpu",
            **options,
        },
    )


def diffusion(folder: Path, seed: int = 0, **options: Any) -> Path:
    """A diffusion policy that sees two control steps; its chunks have 8 steps."""
    module = library.module("policies.diffusion.modeling_diffusion")
    config = library.module("policies.diffusion.configuration_diffusion").DiffusionConfig(
        **features(),
        **{
            "horizon": 8,
            "n_action_steps": 4,
            "down_dims": (16, 32),
            "diffusion_step_embed_dim": 16,
            "n_groups": 4,
            "spatial_softmax_num_keypoints": 4,
            "crop_shape": None,
            "normalization_mapping": _modes("VISUAL", "STATE", "ACTION"),
            "pretrained_backbone_weights": None,
            "use_group_norm": True,
            "noise_scheduler_type": "DDIM",
            "num_inference_steps": 10,
            "device": "cpu",
            **options,
        },
    )
    return save(folder, module.DiffusionPolicy, config, RANGES, seed)


def act(folder: Path, seed: int = 0) -> Path:
    """An ACT, which draws chunks of 5 steps and has no denoiser."""
    module = library.module("policies.act.modeling_act")
    config = library.module("policies.act.configuration_act").ACTConfig(
        **features(),
        chunk_size=5,
        n_action_steps=5,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
        pretrained_backbone_weights=None,
        normalization_mapping={**_modes("VISUAL"), **_modes("STATE", "ACTION", mode="MEAN_STD")},
        device="cpu",
    )
    return save(folder, module.ACTPolicy, config, STATS, seed)


TEXT = {
    "model_type": "llama",
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 16,
}


def tiny_vlm(folder: Path, text: dict[str, Any] = TEXT, vision: dict[str, Any] = VISION, scale_factor: int = 2) -> Path:
    """The configuration, a byte-level tokenizer and the processor of a vision-language model; no weights."""
    transformers = __import__("transformers")
    config = transformers.SmolVLMConfig(
        text_config={**text, "pad_token_id": 0},
        vision_config=vision,
        scale_factor=scale_factor,
        image_token_id=3,
        pad_token_id=0,
    )
    config.save_pretrained(folder)
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 64}),
        _byte_tokenizer(transformers),
        transformers.SmolVLMVideoProcessor(),
    )
    processor.save_pretrained(folder)
    return folder


def _byte_tokenizer(transformers: Any) -> Any:
    """A token for each byte, and the special tokens that SmolVLM's processor asks for."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<pad>", "<eos>", "<unk>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    names = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    )


def features() -> dict[str, Any]:
    types = library.module("configs.types")
    kind, feature = types.FeatureType, types.PolicyFeature
    return {
        "input_features": {
            "observation.state": feature(kind.STATE, (8,)),
            **{name: feature(kind.VISUAL, (3, SIZE, SIZE)) for name in IMAGES},
        },
        "output_features": {"action": feature(kind.ACTION, (7,))},
    }


def _modes(*names: str, mode: str = "MIN_MAX") -> dict[str, Any]:
    modes = library.module("configs.types").NormalizationMode
    return {name: modes["IDENTITY" if name == "VISUAL" else mode] for name in names}


def save(folder: Path, kind: Any, config: Any, stats: dict[str, Any], seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = kind(config)
    policy.save_pretrained(folder)
    save_processors(folder, config, stats)
    return folder


def save_processors(folder: Path, config: Any, stats: dict[str, Any]) -> None:
    """The pre- and post-processor of a configuration, for a data set with these statistics."""
    make = library.module("policies.factory").make_pre_post_processors
    for processor in make(config, dataset_stats=stats):
        processor.save_pretrained(folder)
