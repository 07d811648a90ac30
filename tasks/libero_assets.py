"""Where LIBERO's meshes, textures and MJCF files are; its wheel brings none."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.libero_suites import package_root
from tasks.task import TaskError

VARIABLE = "LIBERO_ASSETS"
#: What every complete folder holds.
PARTS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
#: The data set that hf-libero itself downloads.
_HUB_DATASET = "lerobot/libero-assets"


def find_assets(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of LIBERO's assets: `given`, else $LIBERO_ASSETS, else hf-libero's own, downloaded if need be.

    Raises TaskError for a folder that lacks one of `PARTS`, naming all it lacks, and when there is no folder and
    the hub does not give one.
    """
    for option, value in (("assets", given), (VARIABLE, os.environ.get(VARIABLE) or None)):
        if value is not None:
            return _checked(option, value)
    download = _download_folder()
    for folder in (package_root() / "assets", download):
        if not _lacking(folder):
            return folder
    return _download(download)


def _checked(option: str, value: str | os.PathLike[str]) -> Path:
    folder = Path(str(value)).expanduser().absolute()
    if not folder.is_dir():
        raise TaskError(f"{option} is {str(value)!r}, which is no folder; accepted: a folder of LIBERO's assets")
    lacking = _lacking(folder)
    if lacking:
        raise TaskError(f"{option} is {str(value)!r}, which lacks {', '.join(lacking)}; accepted: all LIBERO assets")
    return folder


def _lacking(folder: Path) -> list[str]:
    return [part for part in PARTS if not (folder / part).is_dir()]


def _download_folder() -> Path:
    """Where hf-libero puts its download, so that neither of us downloads what the other has."""
    return Path.home() / ".cache" / "libero" / "assets"


def _download(folder: Path) -> Path:
    remedy = f"accepted: assets=FOLDER or {VARIABLE}=FOLDER with LIBERO's assets"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise TaskError(
            f"LIBERO's assets are not in {folder}, and huggingface_hub is not installed to download them; {remedy}"
        ) from None
    try:
        # hf-libero's own function does the same with an argument that newer hubs refuse.
        snapshot_download(repo_id=_HUB_DATASET, repo_type="dataset", local_dir=folder)
    except OSError as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise TaskError(f"LIBERO's assets cannot be downloaded into {folder} ({reason}); {remedy}") from None
    return _checked("the download", folder)
