"""The state of a denoising loop: what the network denoises beside the task's actions, and its last prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from policies.from_host import on_host, to_device
from policies.lerobot.row_noise import generator_of
from policies.lerobot.same_input import same_input


class LoopState:
    """The padding of a noisy chunk, and the network's prediction, at the loop's present time.

    LeRobot's VLAs denoise chunks of `max_action_dim` dimensions, of which the task has the first. The others, the
    padding, influence the task's through the network, so they follow the policy's own equation of motion from step to
    step; a sampler, a critic and a posterior net never see them. Their noise comes from a generator that is seeded with
    the row's own noise, so it depends on nothing but the row.

    A denoiser may be asked about other times than the loop's, by a posterior flow for example. There the padding is
    what a policy trained on zero padding expects: its noise, scaled by 1 - t.
    """

    def __init__(self, rows: int, horizon: int, padding: int, device: torch.device) -> None:
        self._noise = torch.randn((horizon, padding), generator=torch.Generator().manual_seed(0))
        self._noise = to_device(self._noise, device).expand(rows, -1, -1)
        self._time: float | None = None
        self._padding = self._noise
        self._prediction: tuple[Tensor, Tensor, Tensor] | None = None

    def padded(self, x: Tensor, t: float | Tensor) -> Tensor:
        """The network's input (B, H, D + padding) for x (B, H, D). A call at t = 0 begins a new loop."""
        if not isinstance(t, Tensor) and t == 0.0:
            self._noise = padding_noise(x, self._noise.shape[-1])
            self._time, self._padding, self._prediction = 0.0, self._noise, None
        padding = self._padding if self._is_present(t) else noise_share(t, x) * self._noise
        return torch.cat([x, padding.to(x)], dim=-1)

    def record(self, x: Tensor, t: float | Tensor, velocity: Tensor, clean: Tensor) -> None:
        """Keep the first prediction at the loop's time: velocity (B, H, D + padding) and clean (B, H, D) at x."""
        if self._is_present(t) and self._prediction is None:
            self._prediction = (x.detach(), velocity.detach(), clean.detach())

    def step(self, x: Tensor, t: float, u: float) -> tuple[Tensor, Tensor] | None:
        """Move on to time u: the network's velocity (B, H, D) and clean chunk at x; None if it was not asked there."""
        if not self._is_present(t) or self._prediction is None or not same_input(self._prediction[0], x):
            return None
        _, velocity, clean = self._prediction
        actions = x.shape[-1]
        self._padding = self._padding + (u - t) * velocity[..., actions:]
        self._time, self._prediction = u, None
        return velocity[..., :actions], clean

    def _is_present(self, t: float | Tensor) -> bool:
        return not isinstance(t, Tensor) and t == self._time


def padding_noise(x: Tensor, padding: int) -> Tensor:
    """Standard normal (B, H, padding): a row's noise is a function of its noise x (H, D) alone."""
    rows = [torch.randn((len(row), padding), generator=generator_of(row)) for row in on_host(x)]
    return to_device(torch.stack(rows), x.device)


def noise_share(t: float | Tensor, x: Tensor) -> Tensor:
    """1 - t, to be multiplied with tensors like x. A single number stays on the host: a GPU need not wait for it."""
    share = 1.0 - torch.as_tensor(t)
    return share.to(x) if share.ndim else share
