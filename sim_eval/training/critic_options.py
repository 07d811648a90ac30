"""The options of a critic under training: its size and its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim_eval.config.options import option
from sim_eval.foundation.errors import RunError
from sim_eval.training.names import OF_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from critics.backup import Backup


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """The critic's size and its targets."""

    heads: int = option(4, "critics in the ensemble", least=1)
    width: int = option(
        None, "units of a layer of the critic; null: 128, of sim-eval train 192 unless outcome or ivl", least=1,
        kind="int | None",
    )  # fmt: skip
    depth: int = option(None, "layers of the critic; null: 3, of outcome and ivl 2", least=1, kind="int | None")
    actions_everywhere: bool = option(
        False,
        "every layer of the critic reads the chunk, not the first alone; not of outcome and ivl, whose V reads states",
    )
    discount: float = option(
        None, "of the reward, per control step; null: the method's own, .99 or .995", least=0, most=1,
        kind="float | None",
    )  # fmt: skip
    backup_pessimism: float = option(
        0.0,
        "targets of sarsa, td and monte_carlo_return are the heads' mean minus this many of their standard deviations",
        least=0,
    )

    def size(self) -> dict[str, int]:
        """The fields of `CriticConfig` that are given."""
        size = {"heads": self.heads, "width": self.width, "depth": self.depth}
        everywhere = {"actions_everywhere": True} if self.actions_everywhere else {}
        return {name: number for name, number in size.items() if number is not None} | everywhere

    def backup(self) -> Backup:
        """The targets."""
        from critics.backup import Backup

        return Backup(self.discount, self.backup_pessimism)


def check_actions_everywhere(option_name: str, everywhere: bool, methods: Sequence[str]) -> None:
    """Raise RunError if every layer of a critic is to read the chunk whose value is of states."""
    if everywhere and (found := [method for method in methods if method in OF_STATES]):
        raise RunError(
            f"{option_name} is true, and method is {found[0]}, whose V reads states; accepted: another method"
        )
