"""LeRobot policies without a denoiser, such as ACT: they draw chunks and cannot be steered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from policies.errors import PolicyError
from policies.lerobot.features import ObservationMap
from policies.lerobot.normalised import LeRobotActions
from policies.lerobot.processors import Processors
from policies.policy import Observations, Policy


class LeRobotSampling(LeRobotActions, Policy):
    """The library's `predict_action_chunk`. Each draw seeds torch's global generator from its row's, and restores it.

    Raises PolicyError for a policy that keeps a queue of observations of its own or predicts single actions.
    """

    row_block: ClassVar[int] = 1

    def __init__(self, policy: nn.Module, processors: Processors, observations: ObservationMap, execute: int) -> None:
        config: Any = policy.config
        if config.n_obs_steps != 1 or not hasattr(config, "chunk_size"):
            raise PolicyError(
                f"policy.path: a checkpoint of type {config.type}, which keeps past observations or draws no chunks; "
                "accepted: smolvla, pi0, pi05, diffusion, and what draws chunks from one observation, such as act"
            )
        super().__init__(processors, observations, config)
        self.policy = policy
        self.horizon, self.execute = config.chunk_size, execute

    @torch.no_grad()
    def sample(self, observation: Observations, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
        chunks = []
        for row, generator in enumerate(generators):
            batch = self._processors.observation(self._observations.batch(_row(observation, row)))
            for _ in range(copies):
                seed = int(torch.randint(2**62, (), generator=generator))
                with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                    torch.manual_seed(seed)
                    chunks.append(self._draw(batch))
        return torch.cat(chunks)

    def _draw(self, batch: dict[str, Any]) -> Tensor:
        policy: Any = self.policy
        return policy.predict_action_chunk(dict(batch))[:, : self.horizon, : self.action_dim].float()


def _row(observation: Observations, row: int) -> dict[str, Any]:
    return {name: values[row : row + 1] for name, values in observation.items()}
