"""A plot as data: axes, series and where everything lies on the canvas. The template only draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Canvas in SVG units, drawn at about one CSS pixel a unit so that its text stays readable on a phone.
WIDTH = 360
_RIGHT, _TOP, _BOTTOM = 14, 12, 38


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, linear or logarithmic; `ticks` are values with their labels."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Where the value lies between low (0) and high (1)."""
        low, high, here = (self.low, self.high, value)
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return (here - low) / (high - low)


@dataclass(frozen=True)
class Mark:
    """A point; `across` and `along` are intervals (low, high) in y and in x, `text` stands above, `title` on hover."""

    x: float
    y: float
    title: str = ""
    across: tuple[float, float] | None = None
    along: tuple[float, float] | None = None
    text: str = ""
    ring: bool = False


@dataclass(frozen=True)
class Series:
    """Marks of one sampler, and a line (x, y) through its course where there is one. `label` decides the colour."""

    label: str
    marks: Sequence[Mark] = ()
    line: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Plot:
    """`alt` says in words what the picture shows; `reference` is a vertical dashed line at that x."""

    alt: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    height: int = 230
    left: int = 44
    reference: float | None = None

    width: int = field(default=WIDTH, init=False)

    def px(self, value: float) -> str:
        return _short(self.left + self.x.share(value) * (WIDTH - _RIGHT - self.left))

    def py(self, value: float) -> str:
        return _short(self.bottom - self.y.share(value) * (self.bottom - _TOP))

    @property
    def bottom(self) -> int:
        return self.height - _BOTTOM

    @property
    def top(self) -> int:
        return _TOP

    @property
    def right(self) -> int:
        return WIDTH - _RIGHT

    def path(self, series: Series) -> str:
        """The series' line as SVG path data."""
        return "M" + "L".join(f"{self.px(x)} {self.py(y)}" for x, y in series.line)


def percent_axis(title: str) -> Axis:
    """Success rates, as fractions."""
    return Axis(title, 0, 1, [(tick / 4, f"{25 * tick}") for tick in range(5)])


def linear_axis(title: str, values: Sequence[float], zero: bool = False) -> Axis:
    """Round ticks around the values; `zero` starts it there."""
    low, high = (0.0 if zero else min(values)), max(values)
    spread = (high - low) or abs(high) or 1.0
    step = _round_step(spread / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return Axis(title, first * step, last * step, [(k * step, f"{k * step:.4g}") for k in range(first, last + 1)])


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """For positive values; ticks at 1, 2 and 5 times powers of ten, or the powers alone where those crowd."""
    low, high = min(values) / 1.3, max(values) * 1.3
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if math.log10(high / low) < 2 else (1,)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    return Axis(title, low, high, [(tick, f"{tick:.4g}") for tick in ticks if low <= tick <= high], log=True)


def category_axis(names: Sequence[str]) -> Axis:
    """Names from top to bottom at 0, -1, -2, ..."""
    return Axis("", -len(names) + 0.4, 0.6, [(-float(index), name) for index, name in enumerate(names)])


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= least * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
