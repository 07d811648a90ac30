"""The figures of a probe, from arrays. Intervals resample episodes, whose decisions are not independent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000

#: The quantile of the policy's own distances beyond which a chunk counts as none of its draws.
OWN = 0.99


@dataclass(frozen=True)
class Figure:
    """A figure over `n` decisions or states, with its bootstrap 95 % interval over episodes. None if undefined."""

    value: float | None
    interval: tuple[float, float] | None
    n: int

    @property
    def above_zero(self) -> bool:
        """Whether its whole interval is."""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class Spread:
    """Q over `draws` unsteered chunks in each of `states`, in the critic's units.

    `within`: the mean over states of Q's standard deviation in a state. `across`: the standard deviation over states of
    its mean in a state. `ratio`: within / across; None if Q is the same in all states.
    """

    states: int
    draws: int
    within: float
    across: float
    ratio: float | None


@dataclass(frozen=True)
class Leaving:
    """The share of states in which a sampler's chunk is none of the policy's own draws, by sampler.

    A chunk's distance is that to the nearest of `references` unsteered draws in its state (normalised, Euclidean),
    divided by the mean distance of those draws to their own nearest. It leaves if its distance exceeds `threshold`,
    below which the share `OWN` of further unsteered draws stay; so about 1 % of unsteered chunks leave.
    """

    references: int
    threshold: float
    shares: dict[str, Figure]


def area(q: Sequence[np.ndarray], successes: Sequence[bool]) -> Figure:
    """`roc_area` of Q for eventual success. `q`: of each episode's decisions, at least one."""
    labels, counts = np.array(successes, bool), np.array([len(values) for values in q])
    # [i, j]: how many more of i's decisions are above j's than below, over all their pairs. Resamples only add these.
    ahead = np.array([[np.sign(np.subtract.outer(mine, theirs)).sum() for theirs in q] for mine in q])

    def of(episodes: np.ndarray) -> float | None:
        won, lost = episodes[labels[episodes]], episodes[~labels[episodes]]
        pairs = counts[won].sum() * counts[lost].sum()
        return float(0.5 + ahead[np.ix_(won, lost)].sum() / pairs / 2) if pairs else None

    return _figure(of, len(q), int(counts.sum()))


def spread(q: np.ndarray) -> Spread:
    """Q (S, N) of N draws in each of S states; N is at least 2. A single state gives nothing `across`: 0."""
    (states, draws), q = q.shape, q.astype(np.float64)
    within, across = q.std(axis=1, ddof=1).mean(), q.mean(axis=1).std(ddof=1) if states > 1 else 0.0
    return Spread(states, draws, float(within), float(across), float(within / across) if across > 0 else None)


def mean(values: np.ndarray, episodes: np.ndarray) -> Figure:
    """The mean of `values` (S,) of states. episodes: (S,) the episode of each."""
    _, rows, counts = np.unique(episodes, return_inverse=True, return_counts=True)
    sums = np.bincount(rows, values.astype(np.float64))
    return _figure(lambda picked: float(sums[picked].sum() / counts[picked].sum()), len(counts), len(values))


def leaving(references: np.ndarray, own: np.ndarray, chunks: Mapping[str, np.ndarray], episodes: np.ndarray) -> Leaving:
    """Which of the samplers' `chunks` (S, H, D), by sampler, leave the policy's own draws.

    references: (S, R, H, D) unsteered draws, R at least 2. own: (S, C, H, D) further ones, which set the threshold.
    episodes: (S,) the episode of each state.
    """
    limits = _distances(own, references)  # (S, C)
    rows = [np.flatnonzero(episodes == episode) for episode in np.unique(episodes)]

    def share(distances: np.ndarray) -> Callable[[np.ndarray], float]:
        def of(picked: np.ndarray) -> float:
            states = np.concatenate([rows[episode] for episode in picked])
            return float(np.mean(distances[states] > np.quantile(limits[states], OWN)))

        return of

    shares = {
        name: _figure(share(_distances(drawn[:, None], references)[:, 0]), len(rows), len(drawn))
        for name, drawn in chunks.items()
    }
    return Leaving(references.shape[1], float(np.quantile(limits, OWN)), shares)


def _distances(chunks: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The distances (S, C) that `Leaving` describes, of C chunks in each state."""
    return np.stack([_distances_in(*state) for state in zip(chunks, references, strict=True)])


def _distances_in(chunks: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The same in one state: (C, H, D) and (R, H, D) to (C,)."""
    flat, own = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (chunks, references))
    nearest = np.linalg.norm(flat[:, None] - own, axis=-1).min(axis=1)
    among = np.linalg.norm(own[:, None] - own, axis=-1)
    np.fill_diagonal(among, np.inf)
    # A policy may draw the same chunk every time: that chunk is at 0, any other infinitely far.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(nearest == 0, 0.0, nearest / among.min(axis=1).mean())


def _figure(of: Callable[[np.ndarray], float | None], episodes: int, n: int) -> Figure:
    """`of` all episodes, by number, and its percentile interval over episodes drawn with replacement."""
    value = of(np.arange(episodes))
    if value is None:
        return Figure(None, None, n)
    generator = np.random.default_rng(0)  # fixed, so that the same episodes give the same interval
    resampled = [of(generator.integers(episodes, size=episodes)) for _ in range(_RESAMPLES)]
    low, high = np.quantile([drawn for drawn in resampled if drawn is not None], [0.025, 0.975])
    return Figure(value, (float(low), float(high)), n)
