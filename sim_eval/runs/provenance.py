"""How a result was made: versions, machine, source revision, checkpoints, command."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policies.observation import ObservationRequest
from sim_eval.foundation.machine import git_revision, machine, versions


def provenance(
    checkpoints: Mapping[str, str],
    request: ObservationRequest | None,
    design: str | None = None,
    computation: Mapping[str, bool | str] | None = None,
) -> dict[str, Any]:
    """A JSON-serialisable account of this process.

    `checkpoints`: role to SHA-256 of every model. `request`: what the policy observes, if it is known.
    `design`: SHA-256 of the file that fixed the study, if one did. `computation`: the policy's, see `FrozenPolicy`.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "machine": machine(),
        "git": git_revision(Path(__file__).parent),
        "checkpoints": dict(checkpoints),
        **({} if request is None else {"request": stored_request(request)}),
        **({} if design is None else {"design": design}),
        **({"computation": dict(computation)} if computation else {}),
    }


def stored_request(request: ObservationRequest) -> dict[str, Any]:
    """A request as JSON holds it."""
    return {**asdict(request), "names": list(request.names)}


def request_facts(request: ObservationRequest) -> dict[str, str]:
    """A request in words: name of a fact to what it is."""
    vectors = [name for name in request.names if name not in (*request.images, "instruction")]
    facts = {"vectors": ", ".join(vectors) or "none"}
    if request.images:
        drawing = {"reflections": request.reflections, "multisampling": request.multisampling}
        drawn = [f"{'with' if on else 'without'} {what}" for what, on in drawing.items()]
        size = f"{request.image_size} x {request.image_size} pixels, {request.image_orientation}"
        facts["images"] = f"{', '.join(request.images)}: {size}, {', '.join(drawn)}"
    else:
        facts["images"] = "none"
    facts["instruction"] = "read" if "instruction" in request.names else "not read"
    if request.history > 1:
        facts["history"] = f"{request.history} control steps"
    return facts
