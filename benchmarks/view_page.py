"""The page of `sim-eval view` in headless Chromium: first view, every filter, a run that grows, a comparison.

usage: python -m benchmarks.view_page [runs=60] [records=1000] [rounds=5]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from selenium import webdriver

from benchmarks import made_run
from benchmarks.chromium import open_chromium
from sim_eval.runs.run_folder import lock

TASKS = ("lift", "can", "square", "libero_spatial", "libero_object", "libero_goal")
SAMPLERS = ("unsteered", "best_of_n", "value_guided", "qpilots_u", "qpilots_m")

#: The value that each filter is set to and back from.
FILTERS = {
    "text": "run-1",
    "task": "can",
    "policy": "flow",
    "sampler": "qpilots_u",
    "state": "ended",
    "outcome": "failure",
    "episode": "17",
    "video": True,
}

_WHEN_ALL_ROWS = """
const [runs, done] = arguments;
const look = () => {
  const rows = document.querySelectorAll(".runs tbody tr").length;
  return rows >= runs ? done(performance.now()) : requestAnimationFrame(look);
};
look();
"""

_WHEN_READ = """
const [done] = arguments;
const look = () => {
  const text = document.getElementById("run-count").textContent;
  return / runs$/.test(text) ? done(performance.now()) : requestAnimationFrame(look);
};
look();
"""

#: Sets a filter and waits until the new rows are painted; milliseconds.
_FILTER = """
const [name, value, done] = arguments;
const field = document.querySelector(`[name=${name}]`);
const body = document.querySelector(".episodes tbody");
const before = body.firstElementChild;
const begun = performance.now();
if (field.type === "checkbox") field.checked = Boolean(value);
else field.value = value;
field.dispatchEvent(new Event(field.matches("select, [type=checkbox]") ? "change" : "input", { bubbles: true }));
const look = () => {
  if (body.firstElementChild === before) return requestAnimationFrame(look);
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
};
look();
"""

_WHEN_SAID = """
const [words, done] = arguments;
const look = () => {
  const rows = [...document.querySelectorAll(".runs tbody tr")].map((row) => row.innerText);
  return rows.some((row) => words.every((word) => row.includes(word))) ? done() : requestAnimationFrame(look);
};
look();
"""


def main(runs: int = 60, records: int = 1000, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        _write(root, runs, records)
        browser = open_chromium(Path(place) / "profile")
        browser.set_script_timeout(120)
        try:
            _first_views(browser, root, runs, rounds)
            with _viewer(root) as address:
                browser.get(address)
                browser.execute_async_script(_WHEN_READ)
                _filters(browser, rounds)
                _growing(browser, root)
                _comparison(browser)
        finally:
            browser.quit()


def _write(root: Path, runs: int, records: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(runs):
        outcomes = {name: list(generator.random(records // len(SAMPLERS)) < 0.6) for name in SAMPLERS}
        made_run.write(root / f"run-{number}", TASKS[number % len(TASKS)], outcomes)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(f"{runs} run folders, {runs * records:,} records, {size / 1e6:.0f} MB")


@contextmanager
def _viewer(root: Path) -> Iterator[str]:
    """A new `sim-eval view`; yields its address."""
    command = [sys.executable, "-m", "sim_eval", "view", str(root), "port=0"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" ", 1)[0]
        print(f"command to address: {time.perf_counter() - begun:.2f} s")
        try:
            yield address
        finally:
            process.terminate()


def _first_views(browser: webdriver.Chrome, root: Path, runs: int, rounds: int) -> None:
    """From the address to a row for each run, and to all of them read; of a server that has read nothing yet."""
    listed, read = [], []
    for _ in range(rounds):
        with _viewer(root) as address:
            browser.get(address)
            listed.append(browser.execute_async_script(_WHEN_ALL_ROWS, runs))
            read.append(browser.execute_async_script(_WHEN_READ))
            browser.refresh()
            again = browser.execute_async_script(_WHEN_READ)
    _say({"first view, every run listed": listed, "every record read": read, "the page again": [again]})


def _filters(browser: webdriver.Chrome, rounds: int) -> None:
    for name, value in FILTERS.items():
        empty = False if isinstance(value, bool) else ""
        taken = [browser.execute_async_script(_FILTER, name, to) for _ in range(rounds) for to in (value, empty)]
        _say({f"filter {name}": taken})


def _growing(browser: webdriver.Chrome, root: Path) -> None:
    """From the moment that records are written to their row."""
    folder = made_run.write(root / "growing", "can", {"unsteered": [1] * 60})
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    taken = []
    with lock(folder):
        for count in (10, 20, 30, 40, 50):
            (folder / "records.jsonl").write_bytes(b"".join(lines[:count]))
            begun = time.perf_counter()
            browser.execute_async_script(_WHEN_SAID, ["growing", "running", f"{count} of 60"])
            taken.append(1000 * (time.perf_counter() - begun))
    _say({"new records of a running run shown after": taken})


def _comparison(browser: webdriver.Chrome) -> None:
    chosen = "return [...document.querySelectorAll('.runs input')].slice(1, 3).map((box) => box.value)"
    first, second = browser.execute_script(chosen)
    begun = time.perf_counter()
    browser.get(browser.current_url.split("?")[0] + f"files/report?run={first}&run={second}")
    cold = time.perf_counter() - begun
    begun = time.perf_counter()
    browser.refresh()
    _say({"report of two runs, the first": [1000 * cold], "again": [1000 * (time.perf_counter() - begun)]})


def _say(taken: Mapping[str, list[float]]) -> None:
    for what, values in taken.items():
        print(f"{what}: median {median(values):.0f} ms, most {max(values):.0f} ms, n = {len(values)}", flush=True)


if __name__ == "__main__":
    main(**{name: int(value) for name, value in (argument.split("=") for argument in sys.argv[1:])})
