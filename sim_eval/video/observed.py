"""The pictures that the policy saw, in a strip below the video's own: nothing of the scene is covered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from policies.observation import ObservationRequest
from sim_eval.video.style import DIM, GUTTER, Scale, fitted

#: Pixels a side at most, for a video's picture of 256 pixels.
_LARGEST = 96


class ObservedStrip:
    """The pictures of one column, in the orientation and, if they fit, with the very pixels that the policy saw.

    Small ones are enlarged by a whole number, so that every pixel stays one; large ones are scaled down.
    `size`: pixels a side of the video's picture.
    """

    def __init__(self, observed: ObservationRequest, size: int) -> None:
        self._request, self._scale = observed, Scale(size)
        px, count = self._scale.px, len(observed.names)
        self._left, self._gap, self._label = px(GUTTER), px(6), px(14)
        room = (size - self._left - px(6) - (count - 1) * self._gap) // count
        most = max(min(room, px(_LARGEST)), 1)
        seen = observed.image_size
        self._side = seen * (most // seen) if seen <= most else most

    @property
    def height(self) -> int:
        """Pixels of the strip."""
        return self._side + self._label + self._gap

    def label(self, pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
        """Write what the pictures are; `corner`: the strip's left and top."""
        (left, top), px, font = corner, self._scale.px, self._scale.font(10)
        request = self._request
        words = ["policy", "sees", f"{request.image_size} px"]
        words += [] if request.image_orientation == "upright" else [request.image_orientation]
        for line, word in enumerate(words):
            pen.text(
                (left + px(6), top + px(7) + line * px(13)), fitted(word, font, self._left - px(6)), DIM, font, "lm"
            )
        for number, name in enumerate(request.names):
            text = fitted(name.removeprefix("robot0_").removesuffix("_image"), font, self._side)
            middle = top + self._side + self._label / 2
            pen.text((left + self._at(number), middle), text, DIM, font, "lm")

    def draw(self, image: Image.Image, corner: tuple[int, int], observed: Sequence[np.ndarray]) -> None:
        """Paste the pictures (h, w, 3) uint8 into `image`."""
        left, top = corner
        for number, picture in enumerate(observed):
            drawn = Image.fromarray(picture)
            how = Image.Resampling.NEAREST if self._side >= drawn.width else Image.Resampling.LANCZOS
            image.paste(drawn.resize((self._side, self._side), how), (left + self._at(number), top))

    def _at(self, number: int) -> int:
        return self._left + number * (self._side + self._gap)
