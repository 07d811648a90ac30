"""Colours and type of everything drawn around a picture."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import ImageFont

Colour = tuple[int, int, int]

BAND: Colour = (13, 17, 23)
TEXT: Colour = (240, 246, 252)
DIM: Colour = (139, 148, 158)
LINE: Colour = (38, 44, 54)
CURVE: Colour = (88, 166, 255)
SUCCESS: Colour = (63, 185, 80)
FAILURE: Colour = (248, 81, 73)

#: Width of the labels to the left of what stands below a picture, at its reference size.
GUTTER = 52

#: Pictures of this many pixels a side have type and margins as given; those of other sizes scale with it.
_REFERENCE = 256
_SMALLEST_TYPE = 8
_NARROWED = 0.92  # DejaVu Sans is wide


class Scale:
    """Lengths for pictures of `size` pixels a side."""

    def __init__(self, size: int) -> None:
        self._factor = size / _REFERENCE

    def px(self, length: float) -> int:
        """A length at 256 pixels, at this size; at least 1."""
        return max(1, round(length * self._factor))

    def font(self, height: float) -> ImageFont.FreeTypeFont:
        """DejaVu Sans at a height given for 256 pixels; never too small to read."""
        return _font(round(_NARROWED * max(_SMALLEST_TYPE, height * self._factor)))


@functools.cache
def _font(height: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # takes a moment; its package brings the typeface, which has the letters of most scripts

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", height)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """The text in at most `most` lines of at most `width` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width or len(lines) == most or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [fitted(line, font, width) for line in lines]
