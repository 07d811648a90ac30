"""A checkpoint's own pre- and post-processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.errors import PolicyError
from policies.lerobot import library
from policies.lerobot.steps import POST, PRE, check_statistics, read_steps


class Processors:
    """LeRobot's pipelines around a policy: observations in, actions out.

    `tokenizer`: where the tokenizer is, if not where the checkpoint says. Raises PolicyError for a checkpoint without
    them (it was saved before LeRobot 0.4: the library's migration script converts it), for steps other than the
    library's own and statistics that are missing, and for actions that are relative to the state or not scaled one by
    one.
    """

    def __init__(self, folder: Path, config: Any, device: torch.device, tokenizer: str | None, action_dim: int) -> None:
        lacking = [name for name in (PRE, POST) if not (folder / name).is_file()]
        if lacking:
            raise PolicyError(
                f"policy.path={folder} has no {' and no '.join(lacking)}: it was saved before LeRobot 0.4; accepted: a "
                "checkpoint migrated with lerobot.processor.migrate_policy_normalization"
            )
        if getattr(config, "use_relative_actions", False):
            raise PolicyError(
                f"policy.path={folder}: its actions are relative to the state (use_relative_actions); accepted: a "
                "checkpoint whose actions are scaled one by one"
            )
        overrides: dict[str, dict[str, Any]] = {"device_processor": {"device": str(device)}}
        if tokenizer is not None:
            overrides["tokenizer_processor"] = {"tokenizer_name": tokenizer}
        pre, post = read_steps(folder, PRE), read_steps(folder, POST)
        check_statistics(folder, config, pre, post)
        steps = {step.name for step in pre}
        try:
            self._pre, self._post = library.module("policies.factory").make_pre_post_processors(
                config,
                str(folder),
                preprocessor_overrides={name: values for name, values in overrides.items() if name in steps},
            )
        except (ValueError, KeyError, ImportError) as error:  # the library's word for a step that it cannot build
            reason = " ".join(str(error).split())
            raise PolicyError(f"policy.path={folder}: its processors cannot be built: {reason:.300}") from None
        self._device = device
        self.shift, self.scale = self._affine(action_dim, folder)

    def observation(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The policy's inputs, from a batch of raw features; "task" is a list of instructions."""
        return self._pre(batch)

    def actions(self, chunks: Tensor) -> Tensor:
        """Normalised chunks (B, H, D) to actions, on the CPU."""
        return self._post(chunks)

    def _affine(self, action_dim: int, folder: Path) -> tuple[Tensor, Tensor]:
        """The post-processor as shift + scale * normalised, the form of all of LeRobot's normalisations."""
        probes = torch.tensor([0.0, 1.0, -0.5], device=self._device)[:, None, None].expand(3, 1, action_dim)
        try:
            zero, unit, half = self._post(probes.clone()).float().to(self._device)[:, 0]
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:  # options of another type
            reason = " ".join(str(error).split())
            raise PolicyError(f"policy.path={folder}: its post-processor takes no actions: {reason:.300}") from None
        if not torch.allclose(half, zero - (unit - zero) / 2, atol=1e-4):
            raise PolicyError(f"policy.path={folder}: its post-processor does more than shift and scale actions")
        return zero, unit - zero
