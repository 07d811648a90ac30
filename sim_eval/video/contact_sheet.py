"""Contact sheets: episodes at a glance, each a row of evenly spaced moments at half the video's size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sim_eval.errors import RunError
from sim_eval.files import replacing
from sim_eval.video.overlay import Moment, Overlay
from sim_eval.video.replay import Replay

#: Pictures a row, the first and the last of the episode among them.
COLUMNS = 8
#: Rows that one sheet holds at most; longer ones are no longer seen at a glance, nor opened by every viewer.
ROWS = 20


def row(replay: Replay, instruction: str) -> np.ndarray:
    """An episode's row (height, width, 3) uint8; an episode that has fewer pictures shows some twice."""
    numbers = np.linspace(0, len(replay.steps) - 1, COLUMNS).round().astype(int)
    moments = [_half(replay.moment(int(number))) for number in numbers]
    return Overlay([replay.record] * COLUMNS, instruction, len(moments[0].picture)).frame(moments)


def _half(moment: Moment) -> Moment:
    picture = Image.fromarray(moment.picture)
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return Moment(np.asarray(small), moment.step)


def write_sheet(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Write rows of one width, at least one, as PNG. Raises RunError when it cannot be written."""
    try:
        with replacing(path) as part:
            Image.fromarray(np.concatenate(rows)).save(part, "PNG", optimize=True)
    except OSError as error:
        raise RunError(f"cannot write the contact sheet {path}: {error.strerror or error}") from None
