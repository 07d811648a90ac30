"""robosuite's sources of chance: numpy's global generator and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator and Python's `random`, and give both back as they were.

    robosuite picks the object of an episode with `random.choice` from the names in a set, whose order is another in
    each process; here it picks from the sorted names.
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
