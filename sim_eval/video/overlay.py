"""One frame of a video: the pictures of one or more samplers with what they show written around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from policies.observation import ObservationRequest
from sim_eval.runs.records import Record
from sim_eval.video.observed import ObservedStrip
from sim_eval.video.q_curve import Axes, QCurve
from sim_eval.video.style import BAND, CURVE, DIM, FAILURE, GUTTER, SUCCESS, TEXT, Scale, fitted, wrapped

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

    A dark band on top names task, episode and instruction. Below each picture stand the sampler with its strength, the
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
        lines = wrapped(instruction, small, width - 2 * px(6), _INSTRUCTION_LINES)
        self._top = px(23) + len(lines) * px(14) + px(5)
        below = self._caption + self._seen_height + (self._strip if any(self._curves) else 0)
        height = self._top + self._size + below
        image = Image.new("RGB", (width, height + height % 2), BAND)
        pen = ImageDraw.Draw(image)
        first = self._records[0]
        episode = f"episode {first.episode}"
        pen.text((width - px(6), px(13)), episode, DIM, small, "rm")
        room = width - px(18) - round(small.getlength(episode))
        pen.text((px(6), px(13)), fitted(first.task, title, room), TEXT, title, "lm")
        for number, line in enumerate(lines):
            pen.text((px(6), px(23) + number * px(14) + px(6)), line, DIM, small, "lm")
        middle = self._top + self._size + self._caption / 2
        for column, record in enumerate(self._records):
            left = column * (self._size + self._gap) + px(6)
            if self._observed is not None:
                self._observed.label(pen, (left - px(6), self._top + self._size + self._caption))
            pen.text((left, middle), record.sampler, TEXT, small, "lm")
            if record.strength is not None:
                after = left + small.getlength(record.sampler) + px(4)
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
