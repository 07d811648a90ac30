"""Video files that browsers play: H.264 in MP4, or an animated GIF."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np

from sim_eval.errors import RunError
from sim_eval.files import replacing

_HOLD_S = 1.0  # the last frame, which shows the outcome, would flash by

# One thread: workers share the cores, and x264's output depends on its number of threads.
_ENCODINGS: dict[str, dict[str, Any]] = {
    "mp4": {
        "codec": "libx264",
        "pix_fmt_out": "yuv420p",
        "quality": None,
        # crf 20 keeps small type clean; faststart lets a browser play before it has the whole file.
        "output_params": ["-crf", "20", "-threads", "1", "-movflags", "+faststart"],
    },
    "gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "quality": None,
        # A palette made for this video; only what changes between frames is stored.
        "output_params": [
            "-threads",
            "1",
            "-filter_complex",
            "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle",
        ],
    },
}

#: What a video's name may end in.
FORMATS = tuple(_ENCODINGS)


def check_encoder() -> None:
    """Raise RunError where no ffmpeg can be run."""
    try:
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-version"], check=True, capture_output=True)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        why = str(error).strip().splitlines()[0]
        raise RunError(
            f"videos need ffmpeg, which cannot be run ({why}); install the package imageio-ffmpeg again, or name "
            "another ffmpeg in IMAGEIO_FFMPEG_EXE"
        ) from None


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Encode frames (height, width, 3) uint8, at least one, in the format that `path` ends in, one of `FORMATS`.

    Height and width are even, as yuv420p asks. The last frame is held for a second. The file appears only when it is
    whole. Raises RunError when it cannot be written.
    """
    try:
        with replacing(path) as part:
            _check_whole(part, _encode(part, frames, fps, _ENCODINGS[path.suffix[1:]]))
    except BrokenPipeError:
        raise RunError(f"cannot write the video {path}: ffmpeg gave up; the disk may be full") from None
    except OSError as error:  # imageio-ffmpeg reports what ffmpeg could not do as OSError, too
        why = error.strerror or f"{str(error).strip().splitlines()[0]}; the disk may be full"
        raise RunError(f"cannot write the video {path}: {why}") from None


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float, encoding: dict[str, Any]) -> int:
    """The number of frames handed to ffmpeg."""
    writer, sent = None, 0
    try:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                # macro_block_size 2: the default of 16 would scale sizes such as 250.
                options = {"macro_block_size": 2, "ffmpeg_log_level": "fatal", **encoding}
                writer = imageio_ffmpeg.write_frames(str(path), size, fps=fps, **options)
                writer.send(None)
            writer.send(np.ascontiguousarray(frame))
            sent += 1
        assert writer is not None
        for _ in range(round(_HOLD_S * fps)):
            writer.send(np.ascontiguousarray(frame))
            sent += 1
    finally:
        if writer is not None:
            writer.close()
    return sent


def _check_whole(path: Path, sent: int) -> None:
    """Raise OSError unless the file holds all frames: imageio-ffmpeg does not tell how ffmpeg ended."""
    try:
        found, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:  # ffmpeg can make nothing of the file
        found = 0
    if found != sent:
        raise OSError(f"{found} of {sent} frames are in the file")
