"""A checkpoint's own pre- and post-processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.errors import PolicyError
from policies.lerobot import library

PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"


class Processors:
    """LeRobot's pipelines around a policy: observations in, actions out.

    `tokenizer`: where the tokenizer is, if not where the checkpoint says. Raises PolicyError for a checkpoint without
    them (it was saved before LeRobot 0.4: the library's migration script converts it), and for actions that are
    relative to the state or not scaled one by one.
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
        steps = {step.get("registry_name") for step in json.loads((folder / PRE).read_text(encoding="utf-8"))["steps"]}
        self._pre, self._post = library.module("policies.factory").make_pre_post_processors(
            config,
            str(folder),
            preprocessor_overrides={name: values for name, values in overrides.items() if name in steps},
        )
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
        zero, unit, half = self._post(probes.clone()).float().to(self._device)[:, 0]
        if not torch.allclose(half, zero - (unit - zero) / 2, atol=1e-4):
            raise PolicyError(f"policy.path={folder}: its post-processor does more than shift and scale actions")
        return zero, unit - zero
