"""robosuite's sources of randomness: numpy's and Python's global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator and Python's `random` inside the block, and restore both afterwards.

    robosuite picks an episode's object with `random.choice` from a set of names, whose order differs between
    processes; inside the block it picks from the sorted names.
    """
    numpy_state, python_state, choice = np.random.get_state(), random.getstate(), random.choice  # noqa: NPY002

    def choice_of_sorted(options: Any) -> Any:
        return choice(sorted(options))

    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    random.choice = choice_of_sorted  # type: ignore[assignment]
    try:
        yield
    finally:
        random.choice = choice
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
