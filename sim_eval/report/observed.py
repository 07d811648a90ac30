"""What each table's policy was told and shown, for the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from policies.observation import ObservationRequest
from sim_eval.analysis.compare import Table
from sim_eval.runs.pictures import read_pictures
from sim_eval.runs.reader import Run


@dataclass(frozen=True)
class Observed:
    """What the policy of the table `title` observed, as its first run with such a record says.

    `pictures`: data URLs of the first decision of episode 0, by observation. `facts`: by name, in words.
    """

    title: str
    instructions: Sequence[str]
    pictures: dict[str, str]
    facts: dict[str, str]


def observed(tables: Sequence[Table]) -> list[Observed]:
    """One for each table whose runs hold an instruction or a request; runs of earlier versions hold neither."""
    found = []
    for table in tables:
        runs = list(dict.fromkeys(run.folder for row in table.rows for run in row.runs))
        by_folder = {run.folder: run for row in table.rows for run in row.runs}
        instructions = list(dict.fromkeys(text for folder in runs for text in by_folder[folder].instructions))
        asked = next((by_folder[folder] for folder in runs if by_folder[folder].request is not None), None)
        if instructions or asked is not None:
            found.append(_observed(table.name, instructions, asked))
    return found


def _observed(title: str, instructions: Sequence[str], run: Run | None) -> Observed:
    if run is None or run.request is None:
        return Observed(title, instructions, {}, {})
    stored = read_pictures(run.folder, run.request.images)
    pictures = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in stored.items()}
    return Observed(title, instructions, pictures, request_facts(run.request))


def request_facts(request: ObservationRequest) -> dict[str, str]:
    """A request in words: name of a fact to what it is."""
    vectors = [name for name in request.names if name not in (*request.images, "instruction")]
    facts = {"vectors": ", ".join(vectors) or "none"}
    if request.images:
        drawn = [f"{'with' if on else 'without'} {what}" for what, on in _drawing(request).items()]
        size = f"{request.image_size} x {request.image_size} pixels, {request.image_orientation}"
        facts["images"] = f"{', '.join(request.images)}: {size}, {', '.join(drawn)}"
    else:
        facts["images"] = "none"
    facts["instruction"] = "read" if "instruction" in request.names else "not read"
    if request.history > 1:
        facts["history"] = f"{request.history} control steps"
    return facts


def _drawing(request: ObservationRequest) -> dict[str, bool]:
    return {"reflections": request.reflections, "multisampling": request.multisampling}
