"""The oracle: episodes in which the exact look-ahead chooses by the value of an outcome critic.

It says how far choosing among the policy's draws could get, if it were known where each leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from critics.critic import Critic
from critics.outcome import OutcomeCritic
from sim_eval.analysis.pairs import counted, pairing_of
from sim_eval.analysis.rows import Pairing
from sim_eval.foundation.errors import RunError
from sim_eval.probing.look_ahead import Outcome, look_ahead
from sim_eval.probing.options import ProbeOptions
from sim_eval.probing.play import BLOCK, CANDIDATES, Played
from sim_eval.rollout.inference import decision_blocks
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.pool import Pool
from sim_eval.samplers import Models


@dataclass(frozen=True)
class Oracle:
    """The look-ahead against the unsteered policy, over the episodes that both ended without an error.

    steps: control steps of its episodes. simulated: all that the simulator executed for them.
    """

    against_unsteered: Pairing
    steps: int
    simulated: int


@dataclass(frozen=True, eq=False)
class StateValue:
    """V of an outcome critic that reads no features, as the look-ahead's value; its heads' log-odds, averaged."""

    critic: OutcomeCritic
    row_block: int

    @property
    def observations(self) -> tuple[str, ...]:
        return self.critic.observations

    @torch.no_grad()
    def __call__(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        count, found = len(next(iter(observation.values()))), []
        for rows in decision_blocks(range(count), self.row_block):
            block = {name: values[rows] for name, values in observation.items()}
            found.append(self.critic.state_logits(self.critic.encode(block, None)).mean(0))
        return torch.cat(found)[:count].double().cpu().numpy()


def state_value(settings: ProbeOptions, models: Models) -> StateValue:
    """The value that the oracle chooses by. Raises RunError for a critic that has none."""
    critic: Critic | None = models.critic
    if not isinstance(critic, OutcomeCritic) or critic.uses_features:
        raise RunError(
            f"oracle is {settings.oracle}, and critic {settings.critic.label} has no value of states; accepted with "
            "it: oracle=0; with others: a critic of sim-eval learn method=outcome"
        )
    return StateValue(critic, models.policy.row_block)


def play_oracle(settings: ProbeOptions, models: Models, pool: Pool, value: StateValue) -> list[Outcome]:
    """The first `settings.oracle` episodes in the order of their keys. Raises RunError as `look_ahead`."""
    keys = episode_keys(settings.task_name, settings.seed, settings.oracle, BLOCK)
    played = look_ahead(pool, keys, models.policy, value, CANDIDATES, settings.steps)
    outcomes = tqdm(played, total=len(keys), desc="oracle", disable=None)
    return sorted(outcomes, key=lambda outcome: outcome.key.episode)


def oracle_figures(outcomes: Sequence[Outcome], played: Sequence[Played]) -> tuple[Oracle | None, list[str]]:
    """The oracle against the unsteered episodes, and one line for each that crashed; None if no episode is left."""
    unsteered = {done.episode.key.episode: done.episode.success for done in played}
    crashed = [
        f"episode {outcome.key.episode}, oracle: {outcome.error}" for outcome in outcomes if outcome.error is not None
    ]
    ended = [outcome for outcome in outcomes if outcome.error is None and outcome.key.episode in unsteered]
    if not ended:
        return None, crashed
    pairs = [(outcome.success, unsteered[outcome.key.episode]) for outcome in ended]
    test = pairing_of(f"exact look-ahead of {CANDIDATES}", "unsteered", [counted(pairs)])
    return Oracle(test, sum(outcome.steps for outcome in ended), sum(outcome.simulated for outcome in ended)), crashed
