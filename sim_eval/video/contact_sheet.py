"""Contact sheets: episodes at a glance, each a row of evenly spaced pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sim_eval.errors import RunError
from sim_eval.files import replacing
from sim_eval.runs.records import Record
from sim_eval.video.overlay import Moment
from sim_eval.video.replay import Replay
from sim_eval.video.style import BAND, DIM, TEXT, Scale, fitted, outcome

#: Pictures a row, the first and the last of the episode among them.
COLUMNS = 8
#: Rows that one sheet holds at most; longer ones are no longer seen at a glance, nor opened by every viewer.
ROWS = 20


@dataclass(frozen=True)
class Row:
    """One episode on a sheet: `COLUMNS` moments of it at half the video's size."""

    record: Record
    instruction: str
    moments: Sequence[Moment]


def row(replay: Replay, instruction: str) -> Row:
    """An episode's evenly spaced moments; one that has fewer pictures shows some twice."""
    numbers = np.linspace(0, len(replay) - 1, COLUMNS).round().astype(int)
    return Row(replay.record, instruction, [_half(replay.moment(int(number))) for number in numbers])


def _half(moment: Moment) -> Moment:
    picture = Image.fromarray(moment.picture)
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return Moment(np.asarray(small), moment.step)


def sheet(rows: Sequence[Row]) -> Image.Image:
    """One sheet of at least one row, in their order, all of one task."""
    side = rows[0].moments[0].picture.shape[0]
    scale = Scale(2 * side)
    px, gap = scale.px, scale.px(3)
    width = 2 * px(8) + COLUMNS * (side + gap) - gap
    head, label = px(30), px(22)
    image = Image.new("RGB", (width, head + len(rows) * (label + side + px(6)) + px(4)), BAND)
    pen = ImageDraw.Draw(image)
    _head(pen, rows[0], scale, width)
    for number, episode in enumerate(rows):
        top = head + number * (label + side + px(6))
        _label(pen, episode.record, scale, width, top + label / 2)
        for column, moment in enumerate(episode.moments):
            left = px(8) + column * (side + gap)
            image.paste(Image.fromarray(moment.picture), (left, top + label))
            _tag(pen, str(moment.step), scale, left, top + label + side)
    return image


def _head(pen: ImageDraw.ImageDraw, first: Row, scale: Scale, width: int) -> None:
    px, title, small = scale.px, scale.font(14), scale.font(12)
    pen.text((px(8), px(16)), first.record.task, TEXT, title, "lm")
    left = px(8) + title.getlength(first.record.task) + px(10)
    policy = f"{first.record.policy} policy"
    pen.text((width - px(8), px(16)), policy, DIM, small, "rm")
    room = int(width - left - small.getlength(policy) - px(18))
    pen.text((left, px(16)), fitted(first.instruction, small, room), DIM, small, "lm")


def _label(pen: ImageDraw.ImageDraw, record: Record, scale: Scale, width: int, middle: float) -> None:
    px, font = scale.px, scale.font(12)
    left: float = px(8)
    strength = "" if record.strength is None else f"strength {record.strength:g}"
    for text, colour in ((f"episode {record.episode}", DIM), (record.sampler, TEXT), (strength, DIM)):
        pen.text((left, middle), text, colour, font, "lm")
        left += font.getlength(text) + px(8)
    word, colour = outcome(record.success)
    pen.text((width - px(8), middle), f"{word} after {record.steps} steps", colour, font, "rm")


def _tag(pen: ImageDraw.ImageDraw, text: str, scale: Scale, left: int, bottom: int) -> None:
    """The control step in a picture's lower left corner."""
    px, font = scale.px, scale.font(10)
    width, height = round(font.getlength(text)) + 2 * px(4), px(14)
    pen.rectangle((left, bottom - height, left + width - 1, bottom - 1), fill=BAND)
    pen.text((left + width / 2, bottom - height / 2), text, TEXT, font, "mm")


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Write a sheet as PNG. Raises RunError when it cannot be written."""
    try:
        with replacing(path) as part:
            sheet(rows).save(part, "PNG", optimize=True)
    except OSError as error:
        raise RunError(f"cannot write the contact sheet {path}: {error.strerror or error}") from None
