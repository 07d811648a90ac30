"""SmolVLA, pi0 and pi0.5 of LeRobot as denoisers: one mechanism for all three and for every version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from policies.from_host import to_device
from policies.lerobot.features import ObservationMap
from policies.lerobot.graphs import Capture, Part, Replayed, in_place
from policies.lerobot.intercept import intercept, pooled
from policies.lerobot.loop_state import LoopState, noise_share, padding_noise
from policies.lerobot.nested import map_rows
from policies.lerobot.normalised import LeRobotActions
from policies.lerobot.precision import encoders
from policies.lerobot.processors import Processors
from policies.policy import Denoiser, Observations
from policies.schedule import LinearPath

KINDS = ("smolvla", "pi0", "pi05")


@dataclass
class FlowContext:
    """An encoded prefix: the arguments of the library's `denoise_step`, features (B, C), and the loop's position."""

    prefix: dict[str, Any]
    features: Tensor
    loop: LoopState


class FlowVLA(LeRobotActions, Denoiser):
    """A frozen VLA whose denoising loop is this suite's.

    Pictures, instruction and state are encoded once per chunk, by the library's own `predict_action_chunk`, which is
    stopped at its first denoising step. The arguments of that step, among them the key/value cache, are the context:
    `clean` calls the library's `denoise_step` with them, for any number of rows. LeRobot's time runs from 1 (noise) to
    0; `clean` flips it.
    """

    schedule = LinearPath()
    row_block: ClassVar[int] = 1

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
        self.horizon, self.execute = config.chunk_size, execute
        self._padding = config.max_action_dim - self.action_dim
        inner: Any = policy
        self._denoise_step: Any = self._librarys_step if capture is None else Replayed(self._librarys_step, capture)
        self._parts = [] if capture is None else [Part(*part, capture) for part in _encoding(inner.model)]

    @torch.no_grad()
    def encode(self, observation: Observations) -> FlowContext:
        batch = self.batch(observation)
        rows = len(observation["instruction"])
        noise = torch.zeros((rows, self.horizon, self.action_dim + self._padding), device=self.device)
        model: Any = self.policy.model
        policy: Any = self.policy
        with in_place(self._parts):
            arguments = intercept(model, "denoise_step", lambda: policy.predict_action_chunk(batch, noise=noise))
        prefix = {name: value for name, value in arguments.items() if name not in ("x_t", "timestep")}
        return FlowContext(prefix, pooled(prefix), self._loop(rows))

    def replayed_by(self, capture: Capture) -> FlowVLA:
        """The same policy, whose parts are captured and replayed."""
        return FlowVLA(self.policy, self._processors, self._observations, self.execute, capture)

    def batch(self, observation: Observations) -> dict[str, Any]:
        """The pre-processed inputs of the library's `predict_action_chunk`."""
        return self._processors.observation(self._observations.batch(observation))

    def repeat(self, context: FlowContext, copies: int) -> FlowContext:
        def repeated(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(copies, dim=0)

        features = repeated(context.features)
        return FlowContext(map_rows(context.prefix, repeated), features, self._loop(len(features)))

    def features(self, context: FlowContext) -> Tensor:
        return context.features

    def clean(self, x: Tensor, t: float | Tensor, context: FlowContext) -> Tensor:
        velocity = self._velocity(context.loop.padded(x, t), t, context)
        clean = x + noise_share(t, x) * velocity[..., : self.action_dim]
        context.loop.record(x, t, velocity, clean)
        return clean

    def times(self, steps: int) -> Sequence[float]:
        """1 minus the library's times, which it computes as 1 + step * (-1 / steps)."""
        return [1.0 - (1.0 + step * (-1.0 / steps)) for step in range(steps)] + [1.0]

    def step(self, x: Tensor, clean: Tensor, t: float, u: float, context: FlowContext) -> Tensor:
        """The library's Euler step, bit for bit, plus the share of what steering has added to the clean chunk."""
        own = context.loop.step(x, t, u)
        if own is None:
            return super().step(x, clean, t, u, context)
        velocity, unsteered = own
        return x + (u - t) * velocity + (u - t) / (1.0 - t) * (clean - unsteered)

    def library_noise(self, x: Tensor) -> Tensor:
        """The noise (B, H, max_action_dim) from which the library would draw the chunk that a loop draws from x."""
        return torch.cat([x, padding_noise(x, self._padding)], dim=-1)

    def _loop(self, rows: int) -> LoopState:
        return LoopState(rows, self.horizon, self._padding, self.device)

    def _velocity(self, padded: Tensor, t: float | Tensor, context: FlowContext) -> Tensor:
        time = (1.0 - torch.as_tensor(t, dtype=torch.float64)).reshape(-1).expand(len(padded))
        velocity: Tensor = self._denoise_step(context.prefix, padded, to_device(time.float(), padded.device))
        return velocity

    def _librarys_step(self, prefix: dict[str, Any], x: Tensor, time: Tensor) -> Tensor:
        own = map_rows(prefix, lambda tensor: tensor)  # some versions append to the cache that they are given
        model: Any = self.policy.model
        velocity: Tensor = -model.denoise_step(**own, x_t=x, timestep=time)
        return velocity


def _encoding(model: Any) -> list[tuple[nn.Module, str]]:
    """The parts of a prefix's computation that make the host wait for nothing, as modules and their methods.

    SmolVLM's vision tower looks up its positions on the host; its layers do not.
    """
    both = encoders(model)
    if hasattr(both, "get_vlm_model"):
        return [(both.get_vlm_model().vision_model.encoder, "forward"), (both, "forward")]
    return [(both, "embed_image"), (both, "forward")]
