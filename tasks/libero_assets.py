"""Where LIBERO's meshes, textures and MJCF files come from; its wheel brings none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.libero_lite import LITE_SUITES, write_lite
from tasks.libero_suites import package_root
from tasks.task import TaskError

VARIABLE = "LIBERO_ASSETS"
#: What `assets` takes beside a folder.
AUTO, REAL, LITE = "auto", "real", "lite"
#: What every complete folder holds.
PARTS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
#: The data set that hf-libero itself downloads, and how long its hub may take to answer, seconds.
_HUB_DATASET = "lerobot/libero-assets"
_HUB_TIMEOUT = 5


@dataclass(frozen=True)
class Assets:
    """A choice made: `value` is "lite" or the real ones' folder; `why` says what kept auto from the real ones."""

    value: str
    why: str | None = None

    @property
    def kind(self) -> str:
        return LITE if self.value == LITE else REAL


def choose_assets(suite: str, given: str | os.PathLike[str] = AUTO) -> Assets:
    """What `given` comes to for a suite: "auto", "real", "lite" or a folder.

    The real ones are $LIBERO_ASSETS, else what hf-libero has downloaded, else its download, which is given up when the
    hub does not answer within seconds. Auto takes lite where the real ones cannot be had and the suite has it.
    Choose once, and hand the value on to worker processes. Raises TaskError for a folder, given or in $LIBERO_ASSETS,
    that lacks one of `PARTS`, for lite where there is none, and when there is nothing to take.
    """
    if given == LITE:
        if suite not in LITE_SUITES:
            raise TaskError(f"assets is {LITE!r}; accepted for {suite}: auto, real or a folder. {_lite_is_for()}")
        return Assets(LITE)
    if given not in (AUTO, REAL):
        return Assets(str(_checked("assets", given)))
    if variable := os.environ.get(VARIABLE):
        return Assets(str(_checked(VARIABLE, variable)))
    try:
        return Assets(str(_downloaded()))
    except _UnobtainableError as problem:
        if given != REAL and suite in LITE_SUITES:
            return Assets(LITE, str(problem))
        lite = ", or assets=lite" if suite in LITE_SUITES else f". {_lite_is_for()}"
        raise TaskError(f"{problem}; accepted: assets=FOLDER or {VARIABLE}=FOLDER with LIBERO's assets{lite}") from None


@contextmanager
def asset_folder(assets: Assets) -> Iterator[Path]:
    """The chosen assets as a folder. Lite is written for each use anew: 25 small files, and nothing to keep in step."""
    if assets.kind == REAL:
        yield Path(assets.value)
        return
    with tempfile.TemporaryDirectory(prefix="libero-lite-") as folder:
        write_lite(Path(folder))
        yield Path(folder)


class _UnobtainableError(Exception):
    """There are no real assets on this machine, and the hub does not give any."""


def _checked(option: str, value: str | os.PathLike[str]) -> Path:
    folder = Path(str(value)).expanduser().resolve()
    if not folder.is_dir():
        accepted = "a folder of LIBERO's assets" if option == VARIABLE else "auto, real, lite or a folder"
        raise TaskError(f"{option} is {str(value)!r}, which is no folder; accepted: {accepted}")
    lacking = _lacking(folder)
    if lacking:
        raise TaskError(f"{option} is {str(value)!r}, which lacks {', '.join(lacking)}; accepted: all LIBERO assets")
    return folder


def _lacking(folder: Path) -> list[str]:
    return [part for part in PARTS if not (folder / part).is_dir()]


def _lite_is_for() -> str:
    return f"There are lite assets for {', '.join(LITE_SUITES)} alone"


def _downloaded() -> Path:
    """What hf-libero has downloaded; it is downloaded to the same place, so that neither has to do it twice."""
    place = Path.home() / ".cache" / "libero" / "assets"
    for folder in (package_root() / "assets", place):
        if not _lacking(folder):
            return folder
    _download(place)
    if lacking := _lacking(place):
        raise _UnobtainableError(f"LIBERO's assets, downloaded into {place}, lack {', '.join(lacking)}")
    return place


def _download(folder: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise _UnobtainableError(
            f"LIBERO's assets are not in {folder}, and huggingface_hub is not installed to download them"
        ) from None
    try:
        # hf-libero's own function does the same with an argument that newer hubs refuse.
        snapshot_download(repo_id=_HUB_DATASET, repo_type="dataset", local_dir=folder, etag_timeout=_HUB_TIMEOUT)
    except OSError as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise _UnobtainableError(f"LIBERO's assets cannot be downloaded into {folder} ({reason})") from None
