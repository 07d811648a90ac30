"""One frame of a video: the pictures of one or more samplers with what they show written around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from policies.observation import ObservationRequest
from sim_eval.runs.records import Record
from sim_eval.video.observed import ObservedStrip
from sim_eval.video.style import BAND, CURVE, DIM, FAILURE, GUTTER, LINE, SUCCESS, TEXT, Scale, fitted, wrapped

_FINER = 4  # Pillow's lines have no antialiasing: they are drawn larger and scaled down
_FILL = tuple((2 * ground + ink) // 3 for ground, ink in zip(BAND, CURVE, strict=True))


@dataclass(frozen=True)
class Axes:
    """The axes that curves side by side share: `steps` control steps across, Q from `low` to `high` upwards."""

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


_INSTRUCTION_LINES = 2


@dataclass(frozen=True)
class Moment:
    """One column at one instant: `picture` (size, size, 3) uint8 after `step` control steps.

    `observed`: the pictures (h, w, 3) uint8 that the policy saw when it last decided.
    """

    picture: np.ndarray
    step: int
    observed: Sequence[np.ndarray] = ()


class Overlay:
    """Frames for episodes of one key, a column each in the order given; `size`: pixels a side of every picture.

    A dark band on top names task, episode and instruction, or each column's where the policies were told different
    things. Below each picture stand the sampler with its strength (and the policy, where columns differ in it), the
    control step, the pictures that the policy saw if `observed` says which, and, where a critic valued the chunks, the
    curve of Q so far, all columns on the same axes. A column whose episode has ended shows how.
    """

    def __init__(
        self, records: Sequence[Record], instruction: str, size: int, observed: ObservationRequest | None = None
    ) -> None:
        self._records, self._size, self._scale = records, size, Scale(size)
        px = self._scale.px
        self._gap = 2 * px(2)
        self._width = len(records) * (size + self._gap) - self._gap
        self._caption, self._strip = px(20), px(40)
        self._observed = None if observed is None else ObservedStrip(observed, size)
        valued = [record.q for record in records if record.q]
        axes = Axes.around(valued or [[0.0]], max(record.steps for record in records))
        self._curves = [QCurve(record.q, record.execute, axes) if record.q else None for record in records]
        self._ground = self._drawn_once(instruction)

    def frame(self, moments: Sequence[Moment]) -> np.ndarray:
        """The frame (height, width, 3) uint8, both even, for one moment of each column."""
        image = self._ground.copy()
        pen = ImageDraw.Draw(image)
        for column, (record, moment) in enumerate(zip(self._records, moments, strict=True)):
            left = column * (self._size + self._gap)
            image.paste(Image.fromarray(moment.picture), (left, self._top))
            self._note_step(pen, left, record, moment.step)
            if self._observed is not None:
                self._observed.draw(image, (left, self._top + self._size + self._caption), moment.observed)
            if curve := self._curves[column]:
                self._draw_curve(image, pen, left, curve, moment.step)
        return np.asarray(image)

    @property
    def _seen_height(self) -> int:
        return 0 if self._observed is None else self._observed.height

    def _drawn_once(self, instruction: str) -> Image.Image:
        """Everything that no frame changes."""
        px, width = self._scale.px, self._width
        title, small = self._scale.font(13), self._scale.font(12)
        told = [record.instruction or instruction for record in self._records]
        texts, room = (told, self._size) if len(set(told)) > 1 else ([instruction], width)
        wraps = [wrapped(text, small, room - 2 * px(6), _INSTRUCTION_LINES) for text in texts]
        self._top = px(23) + max(map(len, wraps)) * px(14) + px(5)
        below = self._caption + self._seen_height + (self._strip if any(self._curves) else 0)
        height = self._top + self._size + below
        image = Image.new("RGB", (width, height + height % 2), BAND)
        pen = ImageDraw.Draw(image)
        first = self._records[0]
        episode = f"episode {first.episode}"
        pen.text((width - px(6), px(13)), episode, DIM, small, "rm")
        room = width - px(18) - round(small.getlength(episode))
        pen.text((px(6), px(13)), fitted(first.task, title, room), TEXT, title, "lm")
        for column, lines in enumerate(wraps):
            left = column * (self._size + self._gap) + px(6)
            for number, line in enumerate(lines):
                pen.text((left, px(23) + number * px(14) + px(6)), line, DIM, small, "lm")
        middle = self._top + self._size + self._caption / 2
        several = len({record.policy for record in self._records}) > 1
        for column, record in enumerate(self._records):
            left = column * (self._size + self._gap) + px(6)
            if self._observed is not None:
                self._observed.label(pen, (left - px(6), self._top + self._size + self._caption))
            name = f"{record.policy} {record.sampler}" if several else record.sampler
            name = fitted(name, small, self._size - px(6) - px(80))
            pen.text((left, middle), name, TEXT, small, "lm")
            if record.strength is not None:
                after = left + small.getlength(name) + px(4)
                pen.text((after, middle), f"at {record.strength:g}", DIM, small, "lm")
        return image

    def _note_step(self, pen: ImageDraw.ImageDraw, left: int, record: Record, step: int) -> None:
        px, font = self._scale.px, self._scale.font(11)
        right, middle = left + self._size - px(6), self._top + self._size + self._caption / 2
        pen.text((right, middle), f"step {step}", DIM, font, "rm")
        if step < record.steps:
            return
        # A frame round the picture and a label in its corner.
        word, colour = ("success", SUCCESS) if record.success else ("failure", FAILURE)
        font, size, top = self._scale.font(12), self._size, self._top
        pen.rectangle((left, top, left + size - 1, top + size - 1), outline=colour, width=px(3))
        width, height = round(font.getlength(word)) + 2 * px(7), px(20)
        corner = (left + size - width, top, left + size - 1, top + height)
        pen.rounded_rectangle(corner, px(5), fill=colour, corners=(False, False, False, True))
        pen.text((left + size - width / 2, top + height / 2), word, BAND, font, "mm")

    def _draw_curve(self, image: Image.Image, pen: ImageDraw.ImageDraw, left: int, curve: QCurve, step: int) -> None:
        px, top = self._scale.px, self._top + self._size + self._caption + self._seen_height
        gutter = px(GUTTER)
        pen.text((left + px(6), top + px(7)), "Q", DIM, self._scale.font(10), "lm")
        pen.text((left + px(6), top + px(22)), f"{curve.at(step):.2f}", CURVE, self._scale.font(11), "lm")
        box = (self._size - gutter - px(6), self._strip - px(6))
        image.paste(curve.draw(step, box), (left + gutter, top))
