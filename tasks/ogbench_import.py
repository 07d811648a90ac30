"""Import OGBench without GL, and build one of its registered environments."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.packages import installed_version
from tasks.random_state import seeded
from tasks.robosuite_import import without_gl
from tasks.simulated_task import release_free_memory
from tasks.task import TaskError

OGBENCH_VERSION = "1.2.2"


def load_ogbench() -> Any:
    """The package gymnasium, with OGBench's environments registered.

    Raises TaskError if OGBench is missing or another release, or a package that it needs is missing.
    """
    version = installed_version("ogbench")
    if version != OGBENCH_VERSION:
        found = "is not installed" if version is None else f"{version} is installed"
        raise TaskError(f'ogbench {found}; accepted: {OGBENCH_VERSION}, pip install "sim-eval[ogbench]"')
    try:
        with without_gl():
            gymnasium = importlib.import_module("gymnasium")
            importlib.import_module("ogbench")
    except ImportError as error:
        raise TaskError(f'ogbench cannot be imported ({error}); pip install "sim-eval[ogbench]"') from None
    return gymnasium


def environment_id(domain: str, index: int) -> str:
    """OGBench's id of a domain's task with one goal and a reward."""
    return f"{domain}-singletask-task{index}-v0"


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out gymnasium's warnings about action bounds of type float64, which OGBench has at every reset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build_environment(domain: str, index: int) -> Any:
    """OGBench's environment of the id, without gymnasium's wrappers, its model compiled."""
    gymnasium = load_ogbench()
    with without_gl(), quiet(), seeded(0):
        env = gymnasium.make(environment_id(domain, index), disable_env_checker=True).unwrapped
        env.reset(seed=0)
    if (file := getattr(env, "fullpath", None)) is not None:
        os.unlink(file)  # a maze leaves its description in the temporary folder
    release_free_memory()
    return env
