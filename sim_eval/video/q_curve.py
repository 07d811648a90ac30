"""The running curve of Q: what the critic thought of each chunk while it was executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from sim_eval.video.style import BAND, CURVE, LINE

_FINER = 4  # Pillow's lines have no antialiasing: they are drawn larger and scaled down
_FILL = tuple((2 * ground + ink) // 3 for ground, ink in zip(BAND, CURVE, strict=True))


@dataclass(frozen=True)
class Axes:
    """What curves side by side share: `steps` control steps across, Q from `low` to `high` upwards."""

    steps: int
    low: float
    high: float

    @classmethod
    def around(cls, curves: Sequence[Sequence[float]], steps: int) -> Axes:
        """Axes that hold all curves, each with at least one value; equal values lie in the middle."""
        values = [value for curve in curves for value in curve]
        low, high = min(values), max(values)
        return cls(steps, low, high) if low < high else cls(steps, low - 1, high + 1)


@dataclass(frozen=True)
class QCurve:
    """Q of each chunk in turn, of which `execute` control steps each were executed."""

    values: Sequence[float]
    execute: int
    axes: Axes

    def at(self, step: int) -> float:
        """Q of the chunk that control step number `step` belongs to, counted from 1; 0 is the start."""
        return self.values[max(step - 1, 0) // self.execute]

    def draw(self, step: int, size: tuple[int, int]) -> Image.Image:
        """The curve over the steps executed so far, as an image of `size` (width, height) pixels."""
        width, height = size[0] * _FINER, size[1] * _FINER
        image = Image.new("RGB", (width, height), BAND)
        pen = ImageDraw.Draw(image)
        bottom = height - _FINER // 2
        pen.line((0, bottom, width, bottom), fill=LINE, width=_FINER)
        points = [self._point(at, q, width, height) for at, q in self._corners(step)]
        if len(points) > 1:
            pen.polygon([(points[0][0], height), *points, (points[-1][0], height)], fill=_FILL)
            pen.line((0, bottom, width, bottom), fill=LINE, width=_FINER)
            pen.line(points, fill=CURVE, width=_FINER + 2, joint="curve")
        (x, y), radius = points[-1], 2 * _FINER
        x = min(max(x, radius), width - radius)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=CURVE)
        return image.resize(size, Image.Resampling.LANCZOS)

    def _corners(self, step: int) -> list[tuple[int, float]]:
        """The curve's corners (control step, Q): level over a chunk's executed steps, then a jump."""
        starts = range(0, max(step, 1), self.execute)
        return [
            (at, self.values[start // self.execute])
            for start in starts
            for at in (start, min(start + self.execute, step))
        ]

    def _point(self, at: int, q: float, width: int, height: int) -> tuple[float, float]:
        margin = 3 * _FINER
        up = (q - self.axes.low) / (self.axes.high - self.axes.low)
        return at / self.axes.steps * width, height - margin - up * (height - 2 * margin)
