"""Show all run folders below a folder as a web page of this machine, until Ctrl-C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.options import Given, option
from sim_eval.foundation.errors import RunError

USAGE = "sim-eval view DIR [option=value ...]    e.g. sim-eval view runs"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show all run folders below a folder as a web page of this machine, until Ctrl-C."""

    sources: tuple[Path, ...]
    videos: Path = option(
        Path("videos"), "folder of videos beside those below DIR; sim-eval render writes there if it is told no other"
    )
    port: int = option(8100, "port of this machine to listen at; 0: any free one", least=0, most=65535)

    @staticmethod
    def resolve(given: Given) -> None:
        sources = given["sources"]
        if len(sources) != 1 or not sources[0].is_dir():
            named = " ".join(map(str, sources)) or "nothing"
            raise RunError(f"{named} is not a folder; accepted: {USAGE.partition('    ')[0]}")
        given["videos"] = given["videos"].resolve()


def run(options: Options) -> int:
    from sim_eval.view.server import view

    view(options.sources[0].resolve(), options.videos, options.port)
    return 0
