"""Before a run: what a number of paired episodes can show, and how many a difference needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim_eval.analysis.rows import ALPHA
from sim_eval.analysis.sequential import pairs_needed, simulate, smallest_difference
from sim_eval.config.compose import compose
from sim_eval.config.values import listed, not_negative, whole
from sim_eval.errors import RunError
from sim_eval.report.formatting import percent

_STUDIES = 500  # simulated for the mean number of pairs until a decision


@dataclass(frozen=True)
class Plan:
    """The options of `sim-eval-plan`, checked; fractions."""

    episodes: tuple[int, ...]
    differences: tuple[float, ...]
    discordant: float
    comparisons: int
    power: float

    @property
    def alpha(self) -> float:
        """Bonferroni's threshold, which Holm's correction is never stricter than."""
        return ALPHA / self.comparisons


def read_plan(arguments: Sequence[str]) -> Plan:
    """`sim-eval-plan`'s arguments. Raises RunError naming the option, its value and what is accepted."""
    config = compose("plan", arguments)
    return Plan(
        episodes=tuple(whole("an entry of episodes", count, 1) for count in listed("episodes", config["episodes"])),
        differences=tuple(
            _share("an entry of differences", value) for value in listed("differences", config["differences"])
        ),
        discordant=_share("discordant", config["discordant"]),
        comparisons=whole("comparisons", config["comparisons"], 1),
        power=_share("power", config["power"]),
    )


def _share(option: str, value: object) -> float:
    fraction = not_negative(option, value)
    if not 0 < fraction < 1:
        raise RunError(f"{option} is {value}; accepted: a fraction between 0 and 1, such as 0.2")
    return fraction


def said(plan: Plan) -> list[str]:
    """The plan in lines of text."""
    lines = [
        f"Exact McNemar test, p < {ALPHA} corrected for {plan.comparisons} comparisons, found with probability "
        f"{percent(plan.power)} %; {percent(plan.discordant)} % of the pairs are solved by exactly one sampler.",
        "",
    ]
    for count in plan.episodes:
        smallest = smallest_difference(count, plan.discordant, plan.alpha, plan.power)
        shown = f"a difference of {percent(smallest)} points" if smallest else "no difference"
        lines.append(f"{count:6} pairs show {shown}")
    lines.append("")
    for difference in plan.differences:
        discordant = max(plan.discordant, difference)
        needed = pairs_needed(difference, discordant, plan.alpha, plan.power)
        sequential = (
            "" if needed is None else f"; until=decided takes {_until_decided(difference, discordant, plan, needed)}"
        )
        lines.append(f"{100 * difference:6g} points need {needed or 'more than 10000'} pairs{sequential}")
    return lines


def _until_decided(difference: float, discordant: float, plan: Plan, fixed: int) -> str:
    """How many pairs a run until=decided takes on average that may take twice the fixed number."""
    studies = simulate(difference, discordant, plan.alpha, 2 * fixed, _STUDIES, np.random.default_rng(0))
    return f"{studies.mean_pairs:.0f} on average, and decides in {percent(studies.share)} %, with episodes={2 * fixed}"
