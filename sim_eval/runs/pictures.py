"""The pictures that a run's policy saw at its first decision in episode 0, which the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from sim_eval.errors import RunError
from sim_eval.files import replacing

_FOLDER = "observed"


def write_pictures(folder: Path, pictures: Mapping[str, np.ndarray]) -> None:
    """Write pictures (H, W, 3) uint8 into a run folder, by the observation's name. Raises RunError if that fails."""
    try:
        for name, picture in pictures.items():
            with replacing(folder / _FOLDER / f"{name}.png") as part:
                Image.fromarray(picture).save(part, "PNG", optimize=True)
    except OSError as error:
        raise RunError(f"cannot write {folder / _FOLDER}: {error.strerror or error}") from None


def read_pictures(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The PNG files of those observations that a run folder has pictures of, by name."""
    files = {name: folder / _FOLDER / f"{name}.png" for name in names}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}
