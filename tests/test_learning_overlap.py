"""`overlap=true`: a critic is fitted while its predecessor plays; processes and interruptions change nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest

from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.engine import Engine
from sim_eval.rollout.episodes import Episode, ended_by
from sim_eval.rollout.inference import Decider
from sim_eval.rollout.keys import episode_key
from sim_eval.samplers import Unsteered
from sim_eval.training.learner import Learner
from sim_eval.training.online import learn
from sim_eval.training.online_folder import LearnFolder
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.online_play import Player
from tests.small_models import small_models
from tests.test_learning import TOY, learn_until, learned, settings

CHANGES = ("overlap=true", "steps=300", "rows=16")


def overlapping(output: Path, *changes: str) -> LearnOptions:
    return settings(output, *CHANGES, *changes)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("overlapping") / "run"
    learn(overlapping(output))
    return output


def test_each_round_is_steered_by_the_fit_before_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each evaluation is of the fit to all rounds until then, as without overlap."""
    play, fit, evaluate = Learner._round, Learner._fit, Learner._evaluated
    steered: dict[int, float] = {}
    fits: dict[int, float] = {}
    evaluated: dict[int, float] = {}

    def key(critic: Any) -> float:
        return float(critic.network.output.double().sum())

    def noting_round(learner: Learner, number: int, models: Any) -> Any:
        steered[number] = key(models.critic)
        return play(learner, number, models)

    def noting_fit(learner: Learner, number: int, before: Any) -> None:
        fit(learner, number, before)
        fits[number] = key(learner.critic)

    def noting_evaluation(learner: Learner, models: Any) -> Any:
        evaluated[learner.state.rounds] = key(models.critic)
        return evaluate(learner, models)

    monkeypatch.setattr(Learner, "_round", noting_round)
    monkeypatch.setattr(Learner, "_fit", noting_fit)
    monkeypatch.setattr(Learner, "_evaluated", noting_evaluation)
    learn(overlapping(tmp_path, "evaluate=1"))
    rounds = len(steered)
    assert rounds >= 3
    assert steered == {number: fits[max(number - 2, 0)] for number in range(1, rounds + 1)}
    assert evaluated == fits
    assert len(set(fits.values())) == rounds + 1
    assert [point["steps"] > 0 for point in learned(tmp_path)[0]] == [False] + [True] * rounds


def test_the_result_depends_on_neither_workers_nor_batch(reference: Path, tmp_path: Path) -> None:
    learn(overlapping(tmp_path, "workers=2"))
    assert learned(tmp_path) == learned(reference)


def test_a_killed_run_goes_on_to_the_same_result(reference: Path, tmp_path: Path) -> None:
    script = "import sys; from tests.test_learning_overlap import *\nlearn(overlapping(Path(sys.argv[1]), 'workers=1'))"
    learn_until("replay/00002.hdf5", script, tmp_path)  # while it fits after the first round, or plays the third
    assert json.loads((tmp_path / "curve.json").read_text()) != learned(reference)[0], "killed in the middle"
    learn(overlapping(tmp_path))
    assert learned(tmp_path) == learned(reference)


@pytest.mark.parametrize("sampler", ["qpilots_u", "dsrl"])
def test_a_run_that_ends_after_every_file_goes_on_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """With an actor that goes on learning, too."""
    toy = [argument for argument in TOY if "qpilots_u" not in argument]
    asked = [*toy, f"samplers=[{sampler}]", *CHANGES, "steps=150"]
    learn(read_command("learn", [*asked, f"output={tmp_path / 'whole'}"]))
    ends = until_it_has_ended(monkeypatch, lambda: learn(read_command("learn", [*asked, f"output={tmp_path / 'cut'}"])))
    assert ends > 5
    assert learned(tmp_path / "cut") == learned(tmp_path / "whole")
    for weights in (tmp_path / "whole").glob("*.safetensors"):
        assert weights.read_bytes() == (tmp_path / "cut" / weights.name).read_bytes()


def until_it_has_ended(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> int:
    """Call `run`, which learns, again and again, and end it after each round and each state that it writes.

    Returns how often it was ended.
    """
    ends = 0

    def interrupted(write: Callable[..., None], *arguments: Any) -> None:
        nonlocal ends
        write(*arguments)
        ends += 1
        raise KeyboardInterrupt

    for method in ("write_replay", "write_state"):
        monkeypatch.setattr(LearnFolder, method, partialmethod(partial(interrupted, getattr(LearnFolder, method))))
    while ends < 40:
        with contextlib.suppress(KeyboardInterrupt):
            run()
            return ends
    raise AssertionError("it does not get on")


def test_more_steps_go_on_from_the_end(reference: Path, tmp_path: Path) -> None:
    learn(overlapping(tmp_path, "steps=100", "evaluate=600"))
    learn(overlapping(tmp_path, "evaluate=600"))
    assert learned(tmp_path)[1] == learned(reference)[1]


def test_a_run_without_overlap_is_another_run(reference: Path) -> None:
    assert json.loads((reference / "options.json").read_text())["overlap"] is True
    with pytest.raises(RunError, match="was made otherwise: overlap is True there, None asked"):
        learn(overlapping(reference, "overlap=false"))


class Endless(Engine):
    """Its episodes come as long as anybody asks."""

    asked = 0

    def finished(self, *_: Any, **__: Any) -> Iterator[list[Episode]]:
        for number in range(10**9):
            self.asked += 1
            yield [ended_by("", episode_key("toy", 0, number, "train"), 1)]

    def close(self) -> None:
        pass


def test_what_plays_beside_a_fit_that_fails_ends(tmp_path: Path) -> None:
    engine = Endless()
    player = Player(overlapping(tmp_path, "workers=1"), engine, ())

    def play() -> Any:
        return player.play([], Unsteered(), small_models("flow"))

    def fail() -> None:
        with player.beside(play):
            while not engine.asked:
                time.sleep(0)
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        fail()
    assert engine.asked > 0


def test_training_and_its_evaluations_decide_no_more_than_once_a_sampler_for_the_latency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each sampler and each of its models, to tell whether decisions can be repeated: not for each episode."""
    timed, plays, latency, play = 0, 0, Decider.latency_ms, Player.play

    def noting_latency(*arguments: Any) -> float:
        nonlocal timed
        timed += 1
        return latency(*arguments)

    def noting_play(player: Player, keys: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal plays
        plays += bool(keys)
        return play(player, keys, *arguments, **options)

    monkeypatch.setattr(Decider, "latency_ms", noting_latency)
    monkeypatch.setattr(Player, "play", noting_play)
    learn(settings(tmp_path, "steps=100"))
    assert timed == plays
