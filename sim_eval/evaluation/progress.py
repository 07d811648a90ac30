"""The progress bar of a run: episodes a minute, the running sampler's successes, and what cores are busy with."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from sim_eval.foundation.errors import RunError
from sim_eval.rollout.result import NOTHING, Spent
from sim_eval.runs.records import Record


class Progress:
    """The bar on standard error; silent if that is not a terminal.

    cores: how many simulate and decide; None: it is not known.
    """

    def __init__(self, total: int, cores: int | None = 1) -> None:
        self._task, self._tally = "", dict[str, tuple[int, int]]()
        self._start, self._new, self._started = time.perf_counter(), 0, False
        self._bar = tqdm(
            total=total,
            disable=None,
            dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} |{bar:10}| {elapsed}<{remaining}{postfix}",
        )
        self._cores, self._spent = cores, Spent()
        self._below = tqdm(total=0, position=1, disable=None, dynamic_ncols=True, bar_format="{desc}")

    def begin(self, done: Sequence[Record], task: str = "") -> None:
        """Go on with a run, of which these episodes are recorded. task: its name, where there are several."""
        self._task, self._tally = f"{task} " if task else "", {}
        for record in done:
            self._count(record)
        if not self._bar.disable:
            self._bar.initial += len(done)  # they are done, but not at this rate
            self._bar.update(len(done))

    def start(self, task: Mapping[str, Any]) -> None:
        """Say once that the first new episodes are on their way, and what they wait for. task: its options."""
        if not self._started:
            self._started = True
            tell_of_compiling(task)
            self._bar.set_postfix_str("starting")

    def note(self, record: Record, spent: Spent = NOTHING) -> tuple[int, int]:
        """Count one more episode; returns its sampler's successes and episodes without errors so far."""
        self._count(record)
        self._new += 1
        elapsed = time.perf_counter() - self._start
        rate = 60 * self._new / elapsed
        self._spent = self._spent.plus(spent)
        self._below.set_description_str(_shares(self._spent, self._cores and self._cores * elapsed), refresh=False)
        self._below.update(0)
        won, n = self._tally[record.sampler]
        self._bar.set_postfix_str(f"{rate:.0f}/min, {self._task}{record.sampler} {won}/{n}", refresh=False)
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
        self._below.close()
        self._bar.close()


def _shares(spent: Spent, whole: float | None) -> str:
    """Shares of `whole`, the seconds of all cores, that ended episodes spent; waiting is the rest, start-up too.

    Without it, shares of the sum.
    """
    busy = sum(spent)
    shares = {name: seconds / (whole or busy or 1.0) for name, seconds in spent._asdict().items()}
    if whole:
        shares["waiting"] = max(0.0, 1 - busy / whole)
    return "cores: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def tell_of_compiling(task: Mapping[str, Any]) -> None:
    """If the fast control step is not compiled yet, say so on a terminal: nothing moves for a while."""
    if sys.stderr.isatty() and task.get("stepping") == "fast":
        from tasks.osc import is_compiled  # loads the compiler

        if not is_compiled():
            print("compiling the control step, once: about a minute", file=sys.stderr)


#: Accepted values of `log`, each with the package that it needs.
TRACKERS = {"none": None, "tensorboard": "tensorboard", "wandb": "wandb"}

Track = Callable[[str, float, int], None]
"""Take a sampler's name, its success rate so far (a fraction) and the number of episodes that it is over."""


def check_installed(log: str) -> None:
    """Import the tracker's package, which set-up does not install. Raises RunError if it is missing."""
    package = TRACKERS[log]
    try:
        if package:
            importlib.import_module(package)
    except ImportError:
        raise RunError(f"log is {log}; the package {package} is not installed: pip install {package}") from None


@contextmanager
def tracking(log: str, folder: Path, config: Mapping[str, Any]) -> Iterator[Track]:
    """Send rates to TensorBoard files in the run folder, to a Weights & Biases run of that name, or nowhere."""
    if log == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(folder / "tensorboard") as writer:
            yield lambda sampler, rate, episodes: writer.add_scalar(f"success/{sampler}", rate, episodes)
    elif log == "wandb":
        wandb: Any = importlib.import_module("wandb")
        with wandb.init(project="sim-eval", name=folder.name, config=dict(config)) as run:
            run.define_metric("success/*", step_metric="episodes")
            yield lambda sampler, rate, episodes: run.log({f"success/{sampler}": rate, "episodes": episodes})
    else:
        yield lambda sampler, rate, episodes: None
