"""Video files that browsers play: H.264 in MP4, or an animated GIF."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import replacing

# A process that has drawn must not be forked, not even to start a program: it maps gigabytes, the meshes and textures
# of GL contexts and the code that software GL compiles, and a kernel that overcommits little promises a fork all of
# it again: "Cannot allocate memory". subprocess starts programs with vfork, which copies nothing, but only without
# `preexec_fn`, which imageio-ffmpeg's own reader and writer set unless IMAGEIO_FFMPEG_NO_PREVENT_SIGINT is 1.

# ffmpeg's options, and its filters behind the one that holds the last frame. crf 20 keeps small type clean; faststart
# lets a browser play before it has the whole file. A GIF gets a palette of its own and stores what changes.
_ENCODINGS = {
    "mp4": (["-codec:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart"], "null"),
    "gif": (
        ["-codec:v", "gif"],
        "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle",
    ),
}


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

    Height and width are even, as yuv420p asks. The last frame, which shows the outcome, is held for a second. The file
    appears only when it is whole. Raises RunError when it cannot be written.
    """
    frames = iter(frames)
    first = next(frames)
    height, width, _ = first.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", str(fps), "-i", "-"]
    encoding, filters = _ENCODINGS[path.suffix[1:]]
    held = f"tpad=stop_mode=clone:stop={round(fps)},{filters}"
    # One thread: workers share the cores, and x264's output depends on its number of threads.
    output = ["-filter_complex", held, *encoding, "-threads", "1"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-xerror", "-y", *raw, *output]
    try:
        with (
            replacing(path) as part,
            subprocess.Popen([*command, str(part)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as ffmpeg,
        ):
            assert ffmpeg.stdin is not None
            for frame in chain([first], frames):
                ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
            _, told = ffmpeg.communicate()
            if ffmpeg.returncode:
                raise OSError(f"ffmpeg: {told.decode(errors='replace').strip()[-200:]}")
    except OSError as error:
        raise RunError(f"cannot write the video {path}: {error.strerror or error}; the disk may be full") from None
