"""How long a user waits for help and for a refused option: `python -m benchmarks.startup [repeats=10]`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

#: Each starts a new interpreter, as a user's shell does.
_CALLS = {
    "help": ["--help"],
    "help of a command": ["evaluate", "--help"],
    "unknown option": ["evaluate", "taks=can"],
    "unknown task": ["evaluate", "task=cam"],
    "unknown field of a sampler": ["evaluate", "sampler.qpilots_u.strenght=3"],
    "value of another type": ["evaluate", "episodes=many"],
}
_PROGRAM = "import sys; from sim_eval.commands.cli import main; main()"


def seconds(arguments: list[str]) -> float:
    """Seconds until the command has ended."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


def main(repeats: int) -> None:
    empty = statistics.median(_empty() for _ in range(repeats))
    print(f"{'':28}median of {repeats}, seconds; an empty interpreter takes {empty:.2f}")
    for name, arguments in _CALLS.items():
        seconds(arguments)  # once, so that every file is in the cache
        print(f"{name:<28}{statistics.median(seconds(arguments) for _ in range(repeats)):.2f}")


def _empty() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["repeats=10"])[0].removeprefix("repeats=")))
