"""Training of the small vision-language-action policy, one set of weights, on demonstrations of many tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from policies.behaviour_cloning import STD_FLOOR, behaviour_cloning_loss
from policies.mini_vla import CAMERAS, MiniVLA, MiniVLAConfig, proprioception
from policies.sentences import embed_sentences
from sim_eval.config.tasks import factory_of
from sim_eval.foundation.files import sha256
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.models.store import ALL_TASKS
from sim_eval.training.collect import demonstrations_with_pictures
from sim_eval.training.fit import fit
from sim_eval.training.resumable import play_to
from sim_eval.training.trajectories import Trajectory, chunks_of, read_hdf5
from sim_eval.training.workspace import origin, random_rows, seeded_weights

#: Noisy actions that a step draws for each encoded decision: encoding costs far more than denoising.
DRAWS = 8
#: Added to the seed, so that the styles start from other keys.
_SEEDS = {"recovering": 0, "sloppy": 100}
#: Share of a batch whose instruction is replaced by another wording, and the noise on embeddings of unit length.
_REWORDED = 0.5
_TEXT_NOISE = 0.02


@dataclass(frozen=True)
class VLARecipe:
    """How a variant is trained.

    demonstrations: task to style to number of episodes. wordings: task to other wordings of its instruction.
    shares: how often a decision of a task is drawn, relative to 1.
    """

    variant: str
    demonstrations: Mapping[str, Mapping[str, int]]
    wordings: Mapping[str, Sequence[str]]
    steps: int
    batch: int
    shares: Mapping[str, float] = field(default_factory=dict)


def recipe_of(known: Mapping[str, Any], variant: str, steps: int | None, batch: int) -> VLARecipe:
    """The recipe of a variant in `known`, the content of configs/mini_vla.yaml. steps: None for the variant's."""
    how = known["variants"][variant]
    wordings = {task: known["wordings"][task] for task in how["demonstrations"]}
    return VLARecipe(variant, how["demonstrations"], wordings, steps or how["steps"], batch, known["shares"])


@dataclass(frozen=True)
class Decisions:
    """The policy's observations at N decisions, and the chunks that were played.

    pictures (N, 2, S, S, 3) uint8, vectors (N, PROPRIOCEPTION), chunks (N, H, D), task (N,): its number, under which
    `wordings` holds its instruction, then the others.
    """

    pictures: Tensor
    vectors: Tensor
    chunks: Tensor
    task: Tensor
    wordings: list[list[str]]


def demonstration_path(data: Path, task: str, style: str) -> Path:
    """Where the demonstrations with pictures of a task are."""
    return data / task / f"pictures_{style}.hdf5"


def collect(recipe: VLARecipe, data: Path, seed: int, workers: int) -> list[Path]:
    """The files of the recipe's demonstrations, of which those that are missing or too short are played."""
    request = MiniVLA(MiniVLAConfig([])).request
    paths = []
    for task, styles in recipe.demonstrations.items():
        make_task = factory_of(task)
        for style, count in styles.items():
            path = demonstration_path(data, task, style)
            paths.append(path)
            if path.exists() and len(read_hdf5(path)) >= count:
                continue
            start = seed + _SEEDS[style]
            play = partial(
                demonstrations_with_pictures,
                task=task,
                make_task=make_task,
                request=request,
                count=count,
                style=style,
                seed=start,
                workers=workers,
            )
            play_to(path, task, count, play, {"task": task, "style": style, "seed": start})
    return paths


def read_decisions(recipe: VLARecipe, data: Path, horizon: int) -> Decisions:
    """Every decision of the recipe's demonstrations."""
    pictures, vectors, chunks, owners, wordings = [], [], [], [], []
    for number, (task, styles) in enumerate(recipe.demonstrations.items()):
        for style, count in styles.items():
            for trajectory in read_hdf5(demonstration_path(data, task, style))[:count]:
                seen = trajectory.decisions
                pictures.append(torch.from_numpy(np.stack([seen[camera] for camera in CAMERAS], axis=1)))
                vectors.append(proprioception(seen))
                chunks.append(_chunks(trajectory, horizon))
                owners.append(torch.full((len(vectors[-1]),), number))
        wordings.append([str(seen["instruction"][0]), *recipe.wordings[task]])
    return Decisions(torch.cat(pictures), torch.cat(vectors), torch.cat(chunks), torch.cat(owners), wordings)


def _chunks(trajectory: Trajectory, horizon: int) -> Tensor:
    return torch.from_numpy(chunks_of(trajectory.actions, horizon)[trajectory.decision_steps])


def train_vla(recipe: VLARecipe, data: Path, checkpoints: Path, seed: int, workers: int) -> None:
    """Play the demonstrations, clone them, and save the policy. torch uses one thread, as in `run_stages`.

    data: the folder of demonstrations, those that are there are not played again. seed: determines everything.
    """
    torch.set_num_threads(1)
    paths = collect(recipe, data, seed, workers)
    decisions = read_decisions(recipe, data, MiniVLAConfig([]).horizon)
    wordings = [wording for of_task in decisions.wordings for wording in of_task]
    with seeded_weights(seed):
        policy = MiniVLA(MiniVLAConfig(wordings))
    tqdm.write(f"{recipe.variant}: {len(decisions.task)} decisions of {len(recipe.demonstrations)} tasks")
    _fit_normalisation(policy, decisions)
    policy.wording_embeddings.copy_(embed_sentences(wordings))
    generator = torch.Generator().manual_seed(seed)
    loss = _Loss(policy, decisions, recipe, generator)
    history = fit(policy, loss, recipe.steps, name=recipe.variant)
    facts = {"steps": recipe.steps, "batch": recipe.batch, "last_logged_loss": history[-1]}
    card = {
        "kind": "policy",
        "task": ALL_TASKS,
        "demonstrations": {task: dict(styles) for task, styles in recipe.demonstrations.items()},
        **origin(seed, {f"{path.parent.name}/{path.name}": sha256(path) for path in paths}),
        "training": facts,
    }
    save_checkpoint(checkpoints / ALL_TASKS, recipe.variant, policy, card)


def _fit_normalisation(policy: MiniVLA, decisions: Decisions) -> None:
    policy.proprioception_mean.copy_(decisions.vectors.mean(0))
    policy.proprioception_std.copy_(decisions.vectors.std(0).clamp_min(1e-3))
    actions = decisions.chunks.flatten(0, 1)
    policy.action_mean.copy_(actions.mean(0))
    policy.action_std.copy_(actions.std(0).clamp_min(STD_FLOOR))


class _Loss:
    """The loss of a mini-batch, whose decisions are spread over the tasks by their shares, on average."""

    def __init__(self, policy: MiniVLA, decisions: Decisions, recipe: VLARecipe, generator: torch.Generator) -> None:
        self._policy, self._decisions, self._generator = policy, decisions, generator
        self._batch = recipe.batch
        self._shares = torch.tensor([recipe.shares.get(task, 1.0) for task in recipe.demonstrations])
        self._rows = [torch.where(decisions.task == number)[0] for number in range(len(recipe.demonstrations))]
        starts = np.cumsum([0, *map(len, decisions.wordings)])
        self._wordings = [(int(first), int(end)) for first, end in pairwise(starts)]

    def __call__(self) -> Tensor:
        policy, generator = self._policy, self._generator
        owners = torch.multinomial(self._shares, self._batch, replacement=True, generator=generator)
        rows = torch.stack([self._draw(self._rows[owner]) for owner in owners])
        margin = policy.config.image_size - policy.config.crop
        corners = torch.randint(margin + 1, (self._batch, len(CAMERAS), 2), generator=generator)
        text = policy.wording_embeddings[torch.tensor([self._wording(int(owner)) for owner in owners])]
        text = text + _TEXT_NOISE * torch.randn(text.shape, generator=generator)
        decisions = self._decisions
        with torch.autocast("cpu", torch.bfloat16):  # a third faster where the processor has it
            embedding = policy.look(decisions.pictures[rows], corners, decisions.vectors[rows], text)
        chunks = (decisions.chunks[rows] - policy.action_mean) / policy.action_std
        embedding = embedding.float().repeat_interleave(DRAWS, dim=0)
        return behaviour_cloning_loss(policy, embedding, chunks.repeat_interleave(DRAWS, dim=0), generator)

    def _draw(self, rows: Tensor) -> Tensor:
        return rows[random_rows(len(rows), 1, self._generator)[0]]

    def _wording(self, owner: int) -> int:
        first, end = self._wordings[owner]
        if end - first > 1 and torch.rand((), generator=self._generator) < _REWORDED:
            return int(torch.randint(first + 1, end, (), generator=self._generator))
        return first
