"""The gain in Q of a critic's steering, by its own judgement and by that of its twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import numpy as np

from critics.critic import Critic
from policies.policy import Denoiser, Policy
from sim_eval.probing.measures import Figure, mean
from sim_eval.probing.states import States
from sim_eval.samplers import BestOfN, Models, Sampler, Unsteered

#: One critic steers and both judge, then they change places.
TwinCritics = tuple[Critic, Critic]


@dataclass(frozen=True)
class Judged:
    """The gain in Q in each of S states, (S,): by the judgement of the critic that steered, and of its twin.

    Both are the mean over the two critics, each in units of the judge's own scale.
    """

    own: np.ndarray
    twin: np.ndarray


@dataclass(frozen=True)
class Gain:
    """The means over states of a `Judged`. `strength`: None for `best_of_n`."""

    sampler: str
    strength: float | None
    own: Figure
    twin: Figure


@dataclass(frozen=True)
class Peak:
    """A sampler at the strength at which its twin gain is highest, the least of equals.

    over_best_of_n: its twin gain minus that of `best_of_n`, in the same states. The strength is chosen in these states,
    too, which favours it.
    """

    gain: Gain
    over_best_of_n: Figure


@dataclass(frozen=True)
class Gains:
    """`tried`: of each sampler with a strength, by its name, at each strength. `peaks`: the best of these."""

    best_of_n: Gain
    tried: Mapping[str, tuple[Gain, ...]]
    peaks: Mapping[str, Peak]


def gains(
    models: Models, twins: TwinCritics, states: States, samplers: Mapping[str, Sampler], strengths: Sequence[float]
) -> Gains:
    """The gains of `best_of_n`, which is one of `samplers`, and of each of them with a strength at each of these.

    `strengths`: in rising order, at least one. Raises RunError for what a sampler draws if that is NaN or infinite.
    """
    episodes, best_of_n = states.episodes, samplers["best_of_n"]
    assert isinstance(best_of_n, BestOfN)
    chosen = judged_choice(models, twins, states, best_of_n)
    tried, peaks = {}, {}
    for name, sampler in samplers.items():
        if not has_strength(sampler):
            continue
        judged = judged_steering(models, twins, states, name, sampler, strengths)
        tried[name] = tuple(_gain(name, at, found, episodes) for at, found in zip(strengths, judged, strict=True))
        best = int(np.argmax([found.twin.mean() for found in judged]))
        peaks[name] = Peak(tried[name][best], mean(judged[best].twin - chosen.twin, episodes))
    return Gains(_gain("best_of_n", None, chosen, episodes), tried, peaks)


def has_strength(sampler: Sampler) -> bool:
    """Whether the sampler can be had at another strength."""
    return is_dataclass(sampler) and any(field.name == "strength" for field in fields(sampler))


def judged_steering(
    models: Models, twins: TwinCritics, states: States, name: str, sampler: Sampler, strengths: Sequence[float]
) -> list[Judged]:
    """At each strength, the steered chunk against the unsteered one of the same noise, in as many denoising steps."""
    unsteered = Unsteered(getattr(sampler, "steps", Unsteered().steps))
    plain = _judged(models.policy, twins, states, states.chunks(replace(models, critic=None), unsteered, "unsteered"))
    found = []
    for strength in strengths:
        steering: Sampler = replace(cast(Any, sampler), strength=strength)
        steered = [
            states.chunks(replace(models, critic=critic), steering, f"{name} at {strength:g}") for critic in twins
        ]
        found.append(_both(np.stack([_judged(models.policy, twins, states, chunks) - plain for chunks in steered])))
    return found


def judged_choice(models: Models, twins: TwinCritics, states: States, sampler: BestOfN) -> Judged:
    """The draw with the highest Q against the mean of all draws in its state."""
    draws = states.draws(models, sampler.n, sampler.steps, "best_of_n")
    q = np.stack([states.values(models.policy, critic, draws) for critic in twins])  # (2, S, N)
    picked = q.argmax(axis=2)[:, None, :, None]
    chosen = np.take_along_axis(q[None], picked, axis=3)[..., 0]  # (2, 2, S), as `_both` takes it
    return _both(chosen - q.mean(axis=2))


def _judged(policy: Policy | Denoiser, twins: TwinCritics, states: States, chunks: np.ndarray) -> np.ndarray:
    """Q of one chunk in each state, (S, H, D), by each critic: (2, S)."""
    return np.stack([states.values(policy, critic, chunks[:, None])[:, 0] for critic in twins])


def _both(raised: np.ndarray) -> Judged:
    """From what each critic's steering adds in each state, by each one's judgement: (2, 2, S), the judge second."""
    return Judged((raised[0, 0] + raised[1, 1]) / 2, (raised[0, 1] + raised[1, 0]) / 2)


def _gain(name: str, strength: float | None, judged: Judged, episodes: np.ndarray) -> Gain:
    return Gain(name, strength, mean(judged.own, episodes), mean(judged.twin, episodes))
