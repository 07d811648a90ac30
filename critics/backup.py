"""How the value at a chunk's end is carried back to the chunk."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Backup:
    """Discount and pessimism of a critic's targets.

    discount: gamma, per control step; None: the objective's own. pessimism: the value at a chunk's end is the mean over
    the target's heads minus this many of their standard deviations, one for all heads.
    """

    discount: float | None = None
    pessimism: float = 0.0

    def join(self, values: Tensor) -> Tensor:
        """Values of the target's heads, (..., E, B), to one, (..., B)."""
        value = values.mean(-2)
        return value - self.pessimism * values.std(-2, correction=0) if self.pessimism else value


#: Each objective's own discount, and the plain mean.
OWN = Backup()

#: The discount of critics of returns, where none is given.
RETURN_DISCOUNT = 0.99


def range_of_returns(rewards: tuple[float, float], discount: float) -> tuple[float, float]:
    """The least and the largest discounted return of rewards in a range; the return may end at any step."""
    least, largest = rewards
    return min(least, 0.0) / (1 - discount), max(largest, 0.0) / (1 - discount)
