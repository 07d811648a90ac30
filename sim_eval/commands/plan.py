"""Before a run: what a number of paired episodes can show, and how many a difference needs."""

from __future__ import annotations

from dataclasses import dataclass

from sim_eval.config.options import Given, option
from sim_eval.config.values import shown
from sim_eval.foundation.errors import RunError

USAGE = "sim-eval plan [option=value ...]    e.g. sim-eval plan episodes=100 differences=0.1,0.2"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say what a number of episodes can show, and how many a difference needs. Shares are fractions."""

    episodes: tuple[int, ...] = option(
        (25, 50, 100, 200, 400), "numbers of paired episodes: what can they show?", least=1, entries=1
    )
    differences: tuple[float, ...] = option(
        (0.05, 0.1, 0.2, 0.4), "differences of success rates, fractions: how many pairs do they need?", entries=1
    )
    discordant: float = option(
        0.4, "share of pairs that exactly one of the two samplers solves; at least the difference"
    )
    comparisons: int = option(10, "tests that share the correction; five samplers on one task make 10", least=1)
    power: float = option(0.8, "probability with which a difference is to be found")

    @staticmethod
    def resolve(given: Given) -> None:
        for name in ("differences", "discordant", "power"):
            value = given[name]
            if not all(0 < share < 1 for share in (value if isinstance(value, tuple) else (value,))):
                raise RunError(f"{name} is {shown(value)}; accepted: a fraction between 0 and 1, such as 0.2")


def run(options: Options) -> int:
    from sim_eval.report.plan import Study, plan_lines

    study = Study(options.discordant, options.comparisons, options.power)
    print("\n".join(plan_lines(options.episodes, options.differences, study)))
    return 0
