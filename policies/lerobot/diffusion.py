"""LeRobot's diffusion policy as a denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from policies.errors import PolicyError
from policies.from_host import on_host, to_device
from policies.lerobot.features import ENVIRONMENT, IMAGES, STATE, ObservationMap
from policies.lerobot.graphs import Capture, Part, Replayed, in_place
from policies.lerobot.intercept import intercept
from policies.lerobot.noise_table import NoiseTable
from policies.lerobot.normalised import LeRobotActions
from policies.lerobot.processors import Processors
from policies.lerobot.row_noise import generator_of
from policies.lerobot.same_input import same_input
from policies.policy import Denoiser, Observations


@dataclass
class DiffusionContext:
    """The conditioning vector (B, C), and where the denoising loop stands.

    answer: the network's last one: x, t, its output and its clean chunk there. generators: of DDPM's noise, one a row.
    """

    condition: Tensor
    answer: tuple[Tensor, float, Tensor, Tensor] | None = None
    generators: list[torch.Generator] = field(default_factory=list)


class LeRobotDiffusion(LeRobotActions, Denoiser):
    """A frozen diffusion policy whose denoising loop is this suite's.

    Pictures and state are encoded once per chunk. A step is the library's own, DDIM's or DDPM's; steering adds the
    change of the clamped clean chunk, and of the noise that follows from it. Steering the predicted noise instead can
    lower the critic's value: the clamp discards what it adds to the clean chunk, and the noise keeps it.

    The library predicts chunks that begin `n_obs_steps` - 1 steps in the past. Here the present action comes first, and
    those of the past, which the network denoises with the others and nobody executes, come last.
    """

    row_block: ClassVar[int] = 1
    schedule: NoiseTable

    def __init__(
        self,
        policy: nn.Module,
        processors: Processors,
        observations: ObservationMap,
        execute: int,
        capture: Capture | None = None,
    ) -> None:
        config: Any = policy.config
        super().__init__(processors, observations, config)
        self.policy = policy
        inner: Any = policy
        self._model: Any = inner.diffusion
        self._past = config.n_obs_steps - 1
        self.horizon, self.execute = config.horizon, execute
        if not 1 <= execute <= self.horizon - self._past:
            raise PolicyError(f"policy.execute={execute}; accepted: 1 to {self.horizon - self._past}")
        self._scheduler: Any = inner.diffusion.noise_scheduler
        self.schedule = NoiseTable(inner.diffusion.noise_scheduler.alphas_cumprod.double())
        self._start = 0.0
        self._unet: Any = self._model.unet if capture is None else Replayed(self._model.unet, capture)
        encoding = (self._model, "_prepare_global_conditioning")
        self._parts = [] if capture is None else [Part(*encoding, capture)]

    def replayed_by(self, capture: Capture) -> LeRobotDiffusion:
        """The same policy, whose parts are captured and replayed."""
        return LeRobotDiffusion(self.policy, self._processors, self._observations, self.execute, capture)

    @torch.no_grad()
    def encode(self, observation: Observations) -> DiffusionContext:
        batch = self._processors.observation(self._observations.batch(observation))
        rows, config = len(observation["instruction"]), self._model.config
        seen = {name: value.unflatten(0, (rows, -1)) for name, value in batch.items() if isinstance(value, Tensor)}
        read = {name: seen[name] for name in (STATE, ENVIRONMENT) if name in seen}
        if config.image_features:
            read[IMAGES] = torch.stack([seen[name] for name in config.image_features], dim=-4)
        with in_place(self._parts):
            arguments = intercept(self._model, "conditional_sample", lambda: self._model.generate_actions(read))
        return DiffusionContext(arguments["global_cond"])

    def repeat(self, context: DiffusionContext, copies: int) -> DiffusionContext:
        return DiffusionContext(context.condition.repeat_interleave(copies, dim=0))

    def features(self, context: DiffusionContext) -> Tensor:
        return context.condition

    def clean(self, x: Tensor, t: float | Tensor, context: DiffusionContext) -> Tensor:
        output = self._output(x, t, context)
        alpha, sigma = self._coefficients(t, x)
        clean = output if self._scheduler.config.prediction_type == "sample" else (x - sigma * output) / alpha
        if not isinstance(t, Tensor):
            context.answer = (x.detach(), t, output.detach(), clean.detach())
        return clean

    def times(self, steps: int) -> Sequence[float]:
        """The scheduler's grid. The first time exceeds 0 where the grid leaves out the noisiest levels."""
        self._scheduler.set_timesteps(steps)
        levels = self._scheduler.timesteps.tolist()
        self._start = self.schedule.time_of(levels[0])
        return [*map(self.schedule.time_of, levels), 1.0]

    def step(self, x: Tensor, clean: Tensor, t: float, u: float, context: DiffusionContext) -> Tensor:
        """The library's own step on the grid of the last `times`, plus what steering has changed.

        DDPM's noise comes from generators seeded with the rows' initial noise, the same whatever steers.
        """
        answer = context.answer
        if answer is None or answer[1] != t or not same_input(answer[0], x):
            return super().step(x, clean, t, u, context)
        if t == self._start:
            context.generators = [generator_of(row) for row in on_host(x)]
        level = int(self.schedule.level(t))
        moved = self._scheduler.step(
            self._librarys_order(answer[2]), level, self._librarys_order(x), generator=context.generators
        ).prev_sample
        own = moved.roll(-self._past, dims=1)
        return own + self._share(level, int(self.schedule.level(u))) * (clean - self.project(answer[3]))

    def project(self, clean: Tensor) -> Tensor:
        config = self._scheduler.config
        return clean.clamp(-config.clip_sample_range, config.clip_sample_range) if config.clip_sample else clean

    def library_noise(self, x: Tensor) -> Tensor:
        """The noise (B, H, D) from which the library would draw the chunk that a loop draws from x."""
        return self._librarys_order(x)

    def _share(self, level: int, following: int) -> float:
        """How far a step carries a change of the clean chunk: the factor of the clean chunk in the step's formula."""
        now = float(self.schedule.abar[level])
        then = float(self.schedule.abar[following]) if following >= 0 else 1.0
        if self._model.config.noise_scheduler_type == "DDPM":
            return math.sqrt(then) * (1 - now / then) / (1 - now)
        return math.sqrt(then) - math.sqrt(1 - then) * math.sqrt(now / (1 - now))

    def _output(self, x: Tensor, t: float | Tensor, context: DiffusionContext) -> Tensor:
        if isinstance(t, Tensor):
            levels = (self.schedule.levels - 1 - t.double().reshape(-1) * self.schedule.levels).float()
        else:
            levels = torch.as_tensor(self.schedule.level(t)).reshape(1)
        times = to_device(levels, x.device).expand(len(x))
        output = self._unet(self._librarys_order(x), times, global_cond=context.condition)
        return output.roll(-self._past, dims=1)

    def _coefficients(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at t; at a noise level, in the library's own arithmetic."""
        level = None if isinstance(t, Tensor) else self.schedule.level(t)
        if isinstance(level, int):
            abar = self._scheduler.alphas_cumprod[level]  # on the host, as in the library's step
            return abar**0.5, (1 - abar) ** 0.5
        return self.schedule.alpha(t).to(x, non_blocking=True), self.schedule.sigma(t).to(x, non_blocking=True)

    def _librarys_order(self, x: Tensor) -> Tensor:
        """A chunk with the actions of the past first."""
        return x.roll(self._past, dims=1)
