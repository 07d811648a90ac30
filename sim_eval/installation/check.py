"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass

#: "missing": it cannot be used; "warning": it can, with results or a speed that may surprise.
STATUSES = ("ok", "warning", "missing")


@dataclass(frozen=True)
class Check:
    """One line. status: one of `STATUSES`. found: what there is. advice: what to do about it, empty if nothing.

    required: whether every run needs it.
    """

    status: str
    name: str
    found: str
    advice: str = ""
    required: bool = False

    @property
    def line(self) -> str:
        told = f"{self.found}; {self.advice}" if self.advice else self.found
        return f"{self.status:<7}  {self.name:<12}  {told}"

    @property
    def fatal(self) -> bool:
        """Whether no run can work."""
        return self.required and self.status == "missing"
