"""What a command may write where: never over what it reads, nor over what a folder of this suite holds.

Other files are replaced without asking, as any program's output is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.foundation.errors import RunError

_REPORT = ("report.html", "report.md", "summary.json")

_WEIGHTS = ("critic", "noise_actor", "edit_actor")


@dataclass(frozen=True)
class _Kind:
    """What a command keeps in a folder. `marks`: files that it always has; it is known by the first and another."""

    command: str
    marks: tuple[str, ...]
    more: tuple[str, ...]

    def wrote(self, folder: Path) -> bool:
        first, *others = (folder / name for name in self.marks)
        return first.is_file() and any(map(Path.exists, others))


_KINDS = (
    _Kind(
        "evaluate",
        ("config.yaml", "provenance.json", "records.jsonl"),
        ("actions", "observed", "videos.json", "design.yaml"),
    ),
    _Kind(
        "learn",
        ("options.json", "replay", "state.pt", "curve.json"),
        ("strengths.yaml", *(f"{name}{end}" for name in _WEIGHTS for end in (".safetensors", ".json"))),
    ),
    _Kind("learn", ("together.json", "state.pt", "draws"), ()),
    _Kind("probe", ("probe.json", "probe.html"), ()),
)


def check_file(option: str, path: Path, sources: Sequence[Path] = ()) -> None:
    """Raise RunError, naming the option, if the file `path` is a source, or a run's own, or a folder."""
    _check_sources(option, path, path, sources)
    if path.is_dir():
        raise RunError(f"{option} is {path}, which is a folder; accepted: a file")
    _check_own(option, path, (*_REPORT, ".lock"))


def check_folder(option: str, path: Path, names: Sequence[str] = (), sources: Sequence[Path] = ()) -> None:
    """Raise RunError, naming the option, if `path` is a file or a run's own, or a file of `names` in it is a source."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{option} is {path}, which is a file; accepted: a folder")
    if (above := next((parent for parent in path.parents if parent.exists()), None)) and not above.is_dir():
        raise RunError(f"{option} is {path}, and {above} is a file; accepted: a folder")
    _check_own(option, path, ())
    for name in names:
        _check_sources(option, path, path / name, sources)


def report_folder(sources: Sequence[Path]) -> Path:
    """Where a report goes unless told otherwise: the first run folder, or the folder of the first file."""
    return sources[0].parent if sources[0].is_file() else sources[0]


def check_report(option: str, path: Path, sources: Sequence[Path]) -> None:
    """As `check_folder`, for a report over `sources`, which takes the place of no other run's report."""
    check_folder(option, path, _REPORT, sources)
    if _KINDS[0].wrote(path) and path.resolve() not in [source.resolve() for source in sources]:
        raise RunError(f"{option} is {path}, the folder of a run that is not compared; accepted: another folder")


def _check_sources(option: str, given: Path, written: Path, sources: Sequence[Path]) -> None:
    for source in sources:
        if written.resolve() == source.resolve() or (written.is_file() and written.samefile(source)):
            said = "which" if given == source else f"and {source}"
            raise RunError(f"{option} is {given}, {said} is read; accepted: a place of its own")


def _check_own(option: str, path: Path, more: Sequence[str]) -> None:
    """Refuse what a folder of this suite keeps under this name, or below it. `more`: names that are refused, too."""
    place = path.resolve()
    for folder in place.parents:
        name = place.relative_to(folder).parts[0]
        for kind in _KINDS:
            if name in (*kind.marks, *kind.more, *more) and kind.wrote(folder):
                raise RunError(
                    f"{option} is {path}, and {name} is a part of {folder}, which sim-eval {kind.command} wrote; "
                    "accepted: another name"
                )
