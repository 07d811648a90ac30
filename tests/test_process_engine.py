"""Whole episodes in worker processes: the same results, and what a lost process costs."""

from __future__ import annotations

import functools
import os
import pickle
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sim_eval.config.components import Component, component
from sim_eval.config.options import Choice
from sim_eval.foundation.errors import RunError
from sim_eval.rollout import local_engine
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.episodes import Episode
from sim_eval.rollout.keys import episode_keys
from sim_eval.rollout.local_engine import LocalEngine
from sim_eval.rollout.process_engine import CannotMoveError, ProcessEngine
from sim_eval.samplers import QPilotsU
from sim_eval.samplers.sampler import Models
from tasks.task import Outcome
from tests.small_models import random_observation, row_generators, small_models
from tests.toy_models import ToyCritic, ToyDenoiser, ToySampler
from tests.toy_task import ToyTask

MODELS = Models(ToyDenoiser(), ToyCritic())
KEYS = episode_keys("toy", 0, 24)


@dataclass
class Kills(ToyTask):
    """Kills its process in the third step of episode `episode`, as long as the file `once` does not exist."""

    episode: int = 5
    once: str = ""

    def step(self, action: Any) -> Outcome:
        if self._key.episode == self.episode and self._steps == 2 and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Untold:
    """It cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def played(engine: Engine, keys: Any = KEYS, models: Models = MODELS) -> dict[int, Episode]:
    with engine:
        found = list(engine.play(keys, ToySampler(n=3), models, "toy"))
    assert len(found) == len(keys), "none is lost or doubled"
    return {episode.key.episode: episode for episode in found}


def same(first: Episode, second: Episode) -> bool:
    mine, theirs = ((e.success, e.steps, e.q, e.state_hash, e.error, e.actions.tobytes()) for e in (first, second))
    return mine == theirs


@pytest.fixture(scope="module")
def here() -> dict[int, Episode]:
    return played(LocalEngine(ToyTask, 0, 8))


@pytest.mark.parametrize(("workers", "batch"), [(1, 3), (3, 8)])
def test_episodes_are_those_of_this_process(workers: int, batch: int, here: dict[int, Episode]) -> None:
    found = played(ProcessEngine(ToyTask, workers, batch))
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_a_process_that_dies_loses_and_doubles_nothing(tmp_path: Path, here: dict[int, Episode]) -> None:
    task = functools.partial(Kills, once=str(tmp_path / "once"))
    found = played(ProcessEngine(task, 2, 4))
    assert (tmp_path / "once").exists()
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_a_process_that_dies_between_two_runs_is_replaced(here: dict[int, Episode]) -> None:
    with ProcessEngine(ToyTask, 2, 2) as engine:
        first = {episode.key.episode: episode for episode in engine.play(KEYS, ToySampler(n=3), MODELS, "toy")}
        idle = engine._processes[0].process
        idle.kill()
        idle.wait()
        second = {episode.key.episode: episode for episode in engine.play(KEYS, ToySampler(n=3), MODELS, "toy")}
    for episodes in (first, second):
        assert all(same(episodes[number], episode) for number, episode in here.items())


def test_an_episode_that_ends_every_process_is_an_error_alone(here: dict[int, Episode]) -> None:
    """Those that were aboard with it are played again."""
    found = played(ProcessEngine(Kills, 2, 4))
    assert found.pop(5).error == "the worker process died (exit code -9)"
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_what_a_process_raises_is_raised_here_and_the_engine_goes_on(here: dict[int, Episode]) -> None:
    with ProcessEngine(ToyTask, 2, 4) as engine:
        other = Models(ToyDenoiser(action_dim=3), None)
        with pytest.raises(RunError, match="the policy's actions have 3 dimensions"):
            list(engine.play(KEYS, ToySampler(), other, "toy"))
        for episode in engine.play(KEYS, ToySampler(n=3), MODELS, "toy"):
            assert same(episode, here[episode.key.episode])
            break  # given up with episodes under way
        found = list(engine.play(KEYS, ToySampler(n=3), MODELS, "toy"))
    assert sorted(episode.key.episode for episode in found) == list(range(24))


def test_models_that_cannot_move_are_played_in_lockstep(
    here: dict[int, Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(ToyDenoiser(), ToyCritic(), actors={"untold": Untold()})  # type: ignore[dict-item]
    with ProcessEngine(ToyTask, 2, 4) as engine, pytest.raises(CannotMoveError, match="no"):
        list(engine.play(KEYS, ToySampler(), models, "toy"))
    found = played(LocalEngine(ToyTask, 3, 4), models=models)
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_a_users_own_file_is_loaded_in_the_processes(tmp_path: Path, here: dict[int, Episode]) -> None:
    (tmp_path / "own.py").write_text((Path(__file__).parent / "toy_models.py").read_text())
    own = component("policy", Choice(f"{tmp_path}/own.py:ToyDenoiser"), ())
    assert isinstance(own, Component)
    found = played(ProcessEngine(ToyTask, 2, 4), models=Models(own.build(), ToyCritic()))
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_other_files_than_the_models_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: dict[int, Episode]
) -> None:
    """A package's modules are found by their names; a file that nothing needs may have changed since."""
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "toys.py").write_text((Path(__file__).parent / "toy_models.py").read_text())
    (package / "models.py").write_text("from .toys import ToyDenoiser")
    (tmp_path / "other.py").write_text("def critic(): ...")
    component("critic", Choice(f"{tmp_path}/other.py:critic"), ())
    (tmp_path / "other.py").unlink()
    monkeypatch.chdir(tmp_path)
    own = component("policy", Choice("own_package.models:ToyDenoiser"), ())
    assert isinstance(own, Component)
    found = played(ProcessEngine(ToyTask, 2, 4), models=Models(own.build(), ToyCritic()))
    assert all(same(episode, here[number]) for number, episode in found.items())


class Fatal:
    """It ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


@pytest.mark.parametrize("actor", [Fatal(), "changed"], ids=["dies", "raises"])
def test_models_that_cannot_be_built_there_are_played_in_lockstep(
    actor: Any, tmp_path: Path, here: dict[int, Episode]
) -> None:
    if actor == "changed":
        (tmp_path / "changed.py").write_text("class Actor: ...")
        own = component("critic", Choice(f"{tmp_path}/changed.py:Actor"), ())
        assert isinstance(own, Component)
        actor = own.build()
        (tmp_path / "changed.py").write_text("class Actor:")
    models = Models(ToyDenoiser(), ToyCritic(), actors={"own": actor})
    with ProcessEngine(ToyTask, 2, 4) as engine, pytest.raises(CannotMoveError):
        list(engine.play(KEYS, ToySampler(n=3), models, "toy"))
    found = played(LocalEngine(ToyTask, 3, 4), models=models)
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_lockstep_goes_on_after_what_processes_have_played(
    monkeypatch: pytest.MonkeyPatch, here: dict[int, Episode]
) -> None:
    def stopping(*_: Any) -> Any:
        yield [here[0], here[7]]
        raise CannotMoveError("no")

    monkeypatch.setattr(ProcessEngine, "finished", stopping)
    found = played(LocalEngine(ToyTask, 3, 4))
    assert found[0] is here[0]
    assert all(same(episode, here[number]) for number, episode in found.items())


def test_which_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes for many episodes of a cheap policy; lockstep for few, for two workers and for expensive rows."""
    ways: list[str] = []

    class Noting(ProcessEngine):
        def finished(self, *arguments: Any) -> Any:
            ways.append("processes")
            return iter([])

    def lockstep(*_: Any) -> Any:
        ways.append("lockstep")
        return iter([])

    class Dear(ToyDenoiser):
        row_block = 1

    monkeypatch.setattr(local_engine, "ProcessEngine", Noting)
    monkeypatch.setattr(local_engine, "run_episodes", lockstep)
    monkeypatch.setattr(local_engine, "open_pool", lambda *_: Noting(ToyTask, 0, 1))
    for workers, keys, models, apart in (
        (3, KEYS, MODELS, False),
        (3, KEYS[:3], MODELS, False),
        (2, KEYS, MODELS, False),
        (3, KEYS, Models(Dear()), False),
        (1, KEYS[:3], MODELS, True),
        (0, KEYS, MODELS, True),
        (1, KEYS, Models(Dear()), True),
    ):
        with LocalEngine(ToyTask, workers, 4, apart) as engine:
            list(engine.play(keys, ToySampler(), models, "toy"))
    assert ways == ["processes", "lockstep", "lockstep", "lockstep", "processes", "lockstep", "lockstep"]


@pytest.mark.parametrize(
    ("workers", "batch", "expected"), [(3, 8, 8), (4, 8, 8), (8, 8, 4), (16, 8, 4), (64, 8, 4), (64, 2, 2), (3, 16, 10)]
)
def test_many_workers_hold_fewer_environments_each(workers: int, batch: int, expected: int) -> None:
    assert LocalEngine(ToyTask, workers, batch)._processes._batch == expected
    assert LocalEngine(ToyTask, workers, batch, each=batch)._processes._batch == batch


@pytest.mark.parametrize("family", ["flow", "diffusion"])
def test_this_suites_own_models_can_move(family: str) -> None:
    models = small_models(family)
    moved = pickle.loads(pickle.dumps(models))
    observation = random_observation(4)
    first, second = (QPilotsU(strength=1.0)(each, observation, row_generators(4)) for each in (models, moved))
    assert torch.equal(first, second)
