"""From the requests of several clients to their answers: equal kinds in one batch, one batch after another."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sim_eval.errors import RunError
from sim_eval.rollout.inference import Decider, decision_blocks, stacked, unnormalised
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models
from sim_eval.serving.requests import Request


@dataclass(frozen=True)
class Failure:
    """A request that could not be decided, and why, in one line."""

    reason: str


#: An answer's fields: actions (H, D) in the task's units, clipped to [-1, 1], and the same normalised; (samples, H, D)
#: if the request asked for several.
Answer = dict[str, Any]


def decide(models: Models, requests: Sequence[Request]) -> list[Answer | Failure]:
    """An answer for each. It depends on its request alone, not on the others, one of which may fail."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for at, request in enumerate(requests):
        groups.setdefault(request.together(), []).append(at)
    answers: dict[int, Answer | Failure] = {}
    for rows in groups.values():
        answers |= zip(rows, _decide_alike(models, [requests[row] for row in rows]), strict=True)
    return [answers[at] for at in range(len(requests))]


def _decide_alike(models: Models, requests: list[Request]) -> list[Answer | Failure]:
    start = time.perf_counter()
    try:
        drawn = _chunks(models, requests) if requests[0].samples > 1 else _chunk(models, requests)
    except Exception as error:  # whatever a model raises is the fault of one request, which must not end the others
        if len(requests) == 1:
            return [Failure(_described(error))]
        return [answer for request in requests for answer in _decide_alike(models, [request])]
    timing = {"infer_ms": 1e3 * (time.perf_counter() - start)}
    return [{"actions": actions, "normalised": chunk, "server_timing": timing} for actions, chunk in drawn]


def _chunk(models: Models, requests: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """One chunk for each: actions and normalised, (H, D)."""
    first = requests[0]
    if "critic" not in first.sampler.needs:
        models = replace(models, critic=None)  # which would value the chunk, for nobody
    decisions = Decider(first.sampler, models, first.label).decide(requests)
    return [(decision.actions, decision.normalised) for decision in decisions]


def _chunks(models: Models, requests: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """`samples` chunks of the frozen policy for each: actions and normalised, (samples, H, D)."""
    blocks = decision_blocks(requests, models.policy.row_block)
    return [drawn for block in blocks for drawn in _drawn(models, block)][: len(requests)]


def _drawn(models: Models, batch: list[Request]) -> list[tuple[np.ndarray, np.ndarray]]:
    """`_chunks` for each request of a block."""
    policy, samples = models.policy, batch[0].samples
    observation, generators = stacked([r.observation for r in batch]), [r.generator() for r in batch]
    steps = getattr(batch[0].sampler, "steps", 1)
    chunks = draw_unsteered(policy, observation, generators, steps, samples)[0]
    if not torch.isfinite(chunks).all():
        raise RunError(f"the policy returned NaN or infinity, {batch[0].origin}")
    shape = (len(batch), samples, policy.horizon, policy.action_dim)
    actions, normalised = unnormalised(policy, chunks).reshape(shape), chunks.float().cpu().numpy().reshape(shape)
    return list(zip(actions, normalised, strict=True))


def _described(error: Exception) -> str:
    if isinstance(error, RunError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rsplit("/", 1)[-1]
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} ({file}:{frame.lineno})"
