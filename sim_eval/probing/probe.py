"""Can this critic steer this frozen policy? Measured on the tune block of keys, before any steering is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from policies.policy import UndecidedError
from sim_eval.analysis.pairs import counted, pairing_of
from sim_eval.analysis.rows import ALPHA, Pairing
from sim_eval.evaluation.progress import tell_of_compiling
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import write_text
from sim_eval.foundation.machine import versions
from sim_eval.models.build import check_needs
from sim_eval.probing.choice import Recording
from sim_eval.probing.gains import Gains, gains
from sim_eval.probing.measures import Figure, Leaving, Spread, area, leaving, mean, spread
from sim_eval.probing.options import PROBE, ProbeOptions
from sim_eval.probing.oracle import Oracle, StateValue, oracle_figures, play_oracle, state_value
from sim_eval.probing.play import BLOCK, CANDIDATES, Pair, early_decisions, play_argmax, play_unsteered
from sim_eval.probing.sentence import UNTOLD, sentence
from sim_eval.probing.states import States
from sim_eval.probing.twins import Twins, fitted, obstacle
from sim_eval.rollout.inference import one_torch_thread
from sim_eval.rollout.pool import open_pool
from sim_eval.rollout.rehearsal import rehearse
from sim_eval.samplers import BestOfN, Models, Sampler
from sim_eval.training.online_fit import within_states

#: Unsteered draws in a state to which chunks are compared, and further ones, which show how far apart draws are.
REFERENCES, FURTHER = 16, 4


@dataclass(frozen=True)
class TwinFigures:
    """Of two critics that were fitted as the probed one, each to a half of `episodes`.

    data: SHA-256 of the files of episodes, by name. agreement: the mean over states of the correlation of their Q over
    the policy's draws in a state.
    """

    episodes: int
    data: Mapping[str, str]
    agreement: Figure
    gains: Gains


@dataclass(frozen=True)
class Probe:
    """The measurements. `options` and `checkpoints` (role to SHA-256): on which keys, of which models.

    auc, auc_early: of Q for eventual success, over all decisions and over those within the first `EARLY` control steps.
    argmax: over `pairs`, the critic's choice of `CANDIDATES` draws at one early decision against a random draw.
    twins: what two critics of disjoint episodes say; without them `untold` says why. oracle: None if it did not play.
    left_out: why some episodes are in no pair.
    """

    options: Mapping[str, Any]
    checkpoints: Mapping[str, str]
    episodes: int
    successes: int
    auc: Figure
    auc_early: Figure
    argmax: Pairing
    pairs: tuple[Pair, ...]
    spread: Spread
    leaving: Leaving
    twins: TwinFigures | None
    untold: str | None
    oracle: Oracle | None
    left_out: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Whether to steer by this critic; it says no more than the twins' gains do."""
        return f"{UNTOLD} whether to steer: {self.untold}" if self.twins is None else sentence(self.twins.gains)

    @property
    def verdict(self) -> str:
        """One sentence on the early argmax, which says no more than the pairs do."""
        test = self.argmax
        counts = (
            f"{test.label}: {test.both + test.won} of {test.pairs}, {test.against}: {test.both + test.lost} of "
            f"{test.pairs} ({test.won} won, {test.lost} lost, p = {test.p:.2g})"
        )
        if test.p >= ALPHA:
            return f"{counts}: these pairs show neither that this critic can rank draws nor that it cannot"
        if test.won > test.lost:
            return f"{counts}: this critic can rank draws"
        return f"{counts}: this critic ranks draws the wrong way round"

    def stored(self) -> dict[str, Any]:
        """The content of `PROBE`: plain values."""
        argmax = {name: value for name, value in asdict(self.argmax).items() if name != "p_holm"}  # a single test
        figures = {**asdict(self), "argmax": argmax}
        said = {"sentence": self.sentence, "verdict": self.verdict}
        return {"versions": versions(), "block": BLOCK, **figures, **said}


def probe(settings: ProbeOptions) -> Probe:
    """Measure, and write `PROBE` into the output folder.

    Raises RunError for models that do not fit, before anything runs; if no pair of episodes ends without an error; and
    for NaN or infinity from a model.
    """
    samplers = settings.build_samplers()
    models = settings.build_models([BestOfN(), *samplers.values()])
    for name, sampler in {"best_of_n": BestOfN(), **samplers}.items():
        check_needs(name, sampler, settings.policy.label, models)
    settings.check_tuned(models.fingerprints)
    rehearse(settings.task_name, settings.task.factory(), settings.workers, samplers, models, BLOCK)
    if one_torch_thread(models.policy):
        torch.set_num_threads(1)
    value = state_value(settings, models) if settings.oracle else None
    try:
        twins = fitted(settings, models) if obstacle(settings, models.critic) is None else None
        tell_of_compiling(settings.task.options)
        found = _measured(settings, samplers, models, twins, value)
    except UndecidedError as error:
        raise RunError(f"the policy has no chunk in a state that it has visited: {error}") from None
    write_text(settings.output / PROBE, f"{json.dumps(found.stored(), indent=1)}\n")
    return found


def _measured(
    settings: ProbeOptions,
    samplers: Mapping[str, Sampler],
    models: Models,
    twins: Twins | None,
    value: StateValue | None,
) -> Probe:
    recording = Recording(settings.steps)  # in this process, so that no cluster can play
    assert isinstance(settings.workers, int)
    with open_pool(settings.task.factory(), settings.workers, settings.batch) as pool:
        foreseen = [] if value is None else play_oracle(settings, models, pool, value)  # first, for it may be refused
        with tqdm(total=2 * settings.episodes, desc="episodes", disable=None) as progress:
            played, crashed = play_unsteered(settings, models, pool, recording, progress)
            pairs, unpaired = play_argmax(settings, models, pool, played, recording, progress)
    if not pairs:
        raise RunError(f"no pair of episodes can be compared: {(crashed + unpaired)[0]}")
    successes = [done.episode.success for done in played]
    q = [np.array(done.episode.q) for done in played]
    early = [values[: early_decisions(done.episode)] for values, done in zip(q, played, strict=True)]
    states = States([visit for done in played for visit in done.visits], settings.batch)
    draws, values = states.further_draws(models, REFERENCES + FURTHER, settings.steps)
    chunks = {name: states.chunks(models, sampler, name) for name, sampler in samplers.items()}
    oracle, stopped = oracle_figures(foreseen, played)
    return Probe(
        options=settings.stored(),
        checkpoints=models.fingerprints,
        episodes=len(played),
        successes=sum(successes),
        auc=area(q, successes),
        auc_early=area(early, successes),
        argmax=_compared(pairs),
        pairs=tuple(pairs),
        spread=spread(values[:, :REFERENCES]),
        leaving=leaving(draws[:, :REFERENCES], draws[:, REFERENCES:], chunks, states.episodes),
        twins=None if twins is None else _twin_figures(settings, samplers, models, twins, states, draws),
        untold=obstacle(settings, models.critic),
        oracle=oracle,
        left_out=(*crashed, *unpaired, *stopped),
    )


def _twin_figures(
    settings: ProbeOptions,
    samplers: Mapping[str, Sampler],
    models: Models,
    twins: Twins,
    states: States,
    draws: np.ndarray,
) -> TwinFigures:
    """`draws`: unsteered chunks in each state, (S, N, H, D)."""
    q, other = (torch.from_numpy(states.values(models.policy, critic, draws)) for critic in twins.critics)
    choosing = {"best_of_n": BestOfN(CANDIDATES, settings.steps), **samplers}
    return TwinFigures(
        episodes=twins.episodes,
        data=twins.data,
        agreement=mean(within_states(q, other).numpy(), states.episodes),
        gains=gains(models, twins.critics, states, choosing, settings.strengths_tried),
    )


def _compared(pairs: Sequence[Pair]) -> Pairing:
    outcomes = counted([(pair.argmax, pair.draw) for pair in pairs])
    return pairing_of(f"argmax of {CANDIDATES}", "a random draw", [outcomes])
