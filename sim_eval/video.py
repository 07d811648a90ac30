"""MP4 files of frames with a line of text on each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sim_eval.errors import RunError

_HOLD_S = 0.5  # the last frame, which shows the outcome, would flash by


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Encode frames (size, size, 3) uint8, at least one, as H.264; the file appears only when it is whole.

    `size` is even, as the pixel format asks. Raises RunError when the file cannot be written.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(part, frames, fps)
        part.replace(path)
    except OSError as error:  # imageio-ffmpeg reports what ffmpeg could not do as OSError, too
        raise RunError(f"cannot write the video {path}: {str(error).strip().splitlines()[0]}") from None
    finally:
        part.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    writer = None
    try:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                # macro_block_size 2: the default of 16 would scale sizes such as 250.
                writer = imageio_ffmpeg.write_frames(
                    str(path), size, fps=fps, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2
                )
                writer.send(None)
            writer.send(np.ascontiguousarray(frame))
        assert writer is not None
        for _ in range(round(_HOLD_S * fps)):
            writer.send(np.ascontiguousarray(frame))
    finally:
        if writer is not None:
            writer.close()


def with_text(frame: np.ndarray, left: str, right: str) -> np.ndarray:
    """A copy of the frame (size, size, 3) with a dark band at its top, one text at each end of it."""
    image = Image.fromarray(frame)
    size = image.width
    font = ImageFont.load_default(max(8, size // 20))
    height = max(12, size // 13)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size, height), fill=(0, 0, 0))
    draw.text((3, height / 2), left, fill=(255, 255, 255), font=font, anchor="lm")
    draw.text((size - 3, height / 2), right, fill=(255, 255, 255), font=font, anchor="rm")
    return np.asarray(image)
