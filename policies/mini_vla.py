"""A small vision-language-action policy: two cameras, proprioception and the instruction to a flow over chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policies.cloned_policy import ClonedPolicy
from policies.family import FAMILIES
from policies.mini_vla_network import Eye
from policies.network import ChunkNetwork
from policies.observation import ObservationRequest
from policies.policy import Observations
from policies.sentences import WIDTH, embed_sentences

CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")
#: Position, the first two columns of the rotation matrix (Zhou et al. 2019, arXiv 1812.07035), two fingers.
PROPRIOCEPTION = 3 + 6 + 2
_TEXT = 64


@dataclass(frozen=True)
class MiniVLAConfig:
    """The configuration that the policy is rebuilt from.

    image_size, crop: pixels; training crops at random places, evaluation in the middle.
    maps: attention maps per camera. wordings: instructions whose embeddings the checkpoint holds.
    """

    wordings: list[str]
    action_dim: int = 7
    horizon: int = 8
    execute: int = 8
    image_size: int = 96
    crop: int = 88
    maps: int = 48
    width: int = 384
    depth: int = 4


class MiniVLA(ClonedPolicy):
    """One set of weights for all tasks; the instruction says which."""

    proprioception_mean: Tensor
    proprioception_std: Tensor
    wording_embeddings: Tensor

    family = FAMILIES["flow"]
    schedule = family.schedule

    def __init__(self, config: MiniVLAConfig) -> None:
        super().__init__()
        self.config = config
        self.horizon, self.execute, self.action_dim = config.horizon, config.execute, config.action_dim
        self.request = ObservationRequest(
            (*CAMERAS, "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "instruction"),
            image_size=config.image_size,
            reflections=False,
            multisampling=False,
        )
        self.text = nn.Sequential(nn.Linear(WIDTH, _TEXT), nn.GELU(approximate="tanh"), nn.Linear(_TEXT, _TEXT))
        self.eyes = nn.ModuleList(Eye(config.maps, _TEXT) for _ in CAMERAS)
        n = len(CAMERAS) * 3 * config.maps + PROPRIOCEPTION + _TEXT
        self.network = ChunkNetwork(n, config.horizon, config.action_dim, config.width, config.depth)
        self.register_buffer("proprioception_mean", torch.zeros(PROPRIOCEPTION))
        self.register_buffer("proprioception_std", torch.ones(PROPRIOCEPTION))
        self.register_buffer("action_mean", torch.zeros(config.action_dim))
        self.register_buffer("action_std", torch.ones(config.action_dim))
        self.register_buffer("wording_embeddings", torch.zeros(len(config.wordings), WIDTH))
        self._new_wordings: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(self, observation: Observations) -> Tensor:
        pictures = torch.stack([torch.from_numpy(observation[name]) for name in CAMERAS], dim=1).to(self.device)
        margin = (self.config.image_size - self.config.crop) // 2
        corners = torch.full((len(pictures), len(CAMERAS), 2), margin, device=self.device)
        text = torch.stack([self.embedding_of(wording) for wording in observation["instruction"]]).to(self.device)
        seen = (pictures, corners, proprioception(observation).to(self.device), text)
        # Convolutions round by the number of rows, so a larger batch is encoded in blocks of one size.
        blocks = zip(*(values.split(self.row_block) for values in seen), strict=True)
        return torch.cat([self.look(*block) for block in blocks])

    def look(self, pictures: Tensor, corners: Tensor, vectors: Tensor, text: Tensor) -> Tensor:
        """The embedding (B, width) of what a decision sees.

        pictures (B, 2, S, S, 3) uint8, corners (B, 2, 2) int64: x, y of each crop's upper left pixel; vectors
        (B, PROPRIOCEPTION); text (B, WIDTH), sentence embeddings.
        """
        words = self.text(text)
        crops = cropped(pictures, corners, self.config.crop)
        margin = (self.config.image_size - self.config.crop) / 2
        shift = (corners - margin) * (2 / self.config.crop)
        seen = [eye(crops[:, i], words, shift[:, i]) for i, eye in enumerate(self.eyes)]
        vectors = (vectors - self.proprioception_mean) / self.proprioception_std
        return self.network.embed(torch.cat([*seen, vectors, words], dim=1))

    def embedding_of(self, wording: str) -> Tensor:
        """The sentence embedding (WIDTH,) of an instruction, from the checkpoint's table or the sentence model."""
        if wording in self.config.wordings:
            return self.wording_embeddings[self.config.wordings.index(wording)]
        if wording not in self._new_wordings:
            self._new_wordings[wording] = embed_sentences([wording])[0]
        return self._new_wordings[wording]


def proprioception(observation: Observations) -> Tensor:
    """The hand's position, rotation and fingers, (B, PROPRIOCEPTION) float32, not normalised."""
    x, y, z, w = np.asarray(observation["robot0_eef_quat"], np.float32).T
    columns = [
        1 - 2 * (y * y + z * z),
        2 * (x * y + z * w),
        2 * (x * z - y * w),
        2 * (x * y - z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z + x * w),
    ]
    return torch.from_numpy(
        np.concatenate(
            [observation["robot0_eef_pos"], np.stack(columns, 1), observation["robot0_gripper_qpos"]], axis=1
        ).astype(np.float32)
    )


def cropped(pictures: Tensor, corners: Tensor, size: int) -> Tensor:
    """Crops (B, cameras, 3, size, size) in [-0.5, 0.5] of uint8 pictures (B, cameras, S, S, 3), one corner each."""
    rows, cameras = pictures.shape[:2]
    line = torch.arange(size, device=pictures.device)
    b = torch.arange(rows, device=pictures.device)[:, None, None, None]
    c = torch.arange(cameras, device=pictures.device)[None, :, None, None]
    x = corners[:, :, 0, None, None] + line[None, None, None, :]
    y = corners[:, :, 1, None, None] + line[None, None, :, None]
    return pictures[b, c, y, x].permute(0, 1, 4, 2, 3).float() / 255 - 0.5
