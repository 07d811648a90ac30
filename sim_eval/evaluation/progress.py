"""The progress bar of a run: episodes per minute, and the running sampler's successes so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from sim_eval.runs.records import Record


class Progress:
    """The bar on standard error; silent if that is not a terminal."""

    def __init__(self, total: int, done: Iterable[Record]) -> None:
        self._tally: dict[str, tuple[int, int]] = {}
        before = list(done)
        self._start, self._new = time.perf_counter(), 0
        self._bar = tqdm(
            total=total,
            initial=len(before),
            disable=None,
            dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} |{bar:10}| {elapsed}<{remaining}{postfix}",
            postfix="starting; the first run on a machine compiles",
        )
        for record in before:
            self._count(record)

    def note(self, record: Record) -> tuple[int, int]:
        """Count one more episode; returns its sampler's successes and episodes without errors so far."""
        self._count(record)
        self._new += 1
        rate = 60 * self._new / (time.perf_counter() - self._start)
        won, n = self._tally[record.sampler]
        self._bar.set_postfix_str(f"{rate:.0f}/min, {record.sampler} {won}/{n}", refresh=False)
        self._bar.update()
        return won, n

    def _count(self, record: Record) -> None:
        won, n = self._tally.get(record.sampler, (0, 0))
        self._tally[record.sampler] = (won + record.success, n + (record.error is None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def tell_of_compiling(task: Mapping[str, Any]) -> None:
    """If the fast control step is not compiled yet, say so on a terminal: nothing moves for a while."""
    if sys.stderr.isatty() and task.get("stepping") == "fast":
        from tasks.osc import is_compiled  # loads the compiler

        if not is_compiled():
            print("compiling the control step, once: about a minute", file=sys.stderr)
