"""Options as runs, sweeps and learning folders store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The value of a run's option `until` with which it stops as soon as its comparisons are decided.
DECIDED = "decided"

#: Options that shipped samplers got after results were published, with the value that changes nothing.
LATER = {"keep_best": False}


def stored_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """A sampler's configuration without later options at the value that changes nothing.

    A folder from before such an option can then be continued, and its samplers are the same as those of a new one.
    """
    if not str(config.get("_target_")).startswith("sim_eval.samplers."):  # a user's own, with options of its own
        return dict(config)
    return {name: value for name, value in config.items() if (name, value) not in LATER.items()}
