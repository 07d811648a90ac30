"""Which video files the page may show: indices of run folders may name any file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Films:
    """The MP4 files below `places`, resolved paths of folders. Addresses are relative to `base`, which holds all."""

    places: tuple[Path, ...]

    @property
    def base(self) -> Path:
        return Path(os.path.commonpath(self.places))

    def address_of(self, video: Path | None) -> str | None:
        """The address of an existing video; None if there is none, or it lies elsewhere."""
        if video is None or not self._holds(video) or not video.is_file():
            return None
        return video.relative_to(self.base).as_posix()

    def at(self, address: str) -> Path | None:
        """The video at an address; None if there is none, wherever a path or a link leads."""
        if "\0" in address:  # which no path may hold
            return None
        path = (self.base / address).resolve()
        return path if path.suffix == ".mp4" and self._holds(path) and path.is_file() else None

    def _holds(self, path: Path) -> bool:
        return any(path.is_relative_to(place) for place in self.places)
