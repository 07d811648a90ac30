"""Fits on a device, without one: on torch's meta device, which holds shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from critics.backup import OWN
from critics.bootstrapping import Bootstrapping, Objective
from critics.dynamics import dynamics_loss
from critics.implicit_value import ImplicitValue
from critics.objectives import OBJECTIVES, TemporalDifference
from critics.outcome import Outcome
from critics.replay import Played, Rewards, TasksReplay, build_replay
from critics.stacked import stacked
from policies.network import time_features
from sim_eval.commands import train
from sim_eval.commands.cli import read_command
from sim_eval.foundation.errors import RunError
from sim_eval.training import critic, learner, online, policy, posterior
from sim_eval.training.critic import fit_objective
from sim_eval.training.fit import fit
from sim_eval.training.going_on import GoingOn
from sim_eval.training.learner import Learner
from sim_eval.training.online import learn
from sim_eval.training.online_fit import fit_actors
from sim_eval.training.policy import Cloning, train_policy
from sim_eval.training.stages import run_stages
from sim_eval.training.trajectories import read_hdf5
from sim_eval.training.workspace import Workspace, trained_on
from tests.test_beside_data import write_walks
from tests.test_critics import HORIZON, chain, new_critic
from tests.test_learning import TOY
from tests.test_training import OUTSIDE

META = torch.device("meta")
STEPS = 20  # of each fit, which read the loss once in 100


class Watch(TorchDispatchMode):
    """Refuses tensors on the CPU, but for single numbers, which cost a device no wait; counts what the host reads.

    What it reads is 1.
    """

    reads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        on_device = [tensor for tensor in tree_leaves(args) if isinstance(tensor, Tensor) and tensor.device == META]
        if func is torch.ops.aten._local_scalar_dense.default and on_device:
            self.reads += 1
            return 1.0
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, found)):
            if isinstance(tensor, Tensor):
                assert tensor.device == META or not tensor.ndim, f"{func} on the {tensor.device}: {tuple(tensor.shape)}"
        return found


class Generator(torch.Generator):
    """One of the meta device draws shapes; torch has none."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        return super().__new__(cls)

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._device


class FittedError(Exception):
    """A fit on the meta device has come to its end; there are no weights to go on with."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    time_features(torch.zeros(1, device=META))  # the frequencies are copied to a device once
    monkeypatch.setattr(torch, "Generator", Generator)
    for name in ("Adam", "AdamW"):  # of which the meta device has no fused ones
        kind = getattr(torch.optim, name)
        monkeypatch.setattr(torch.optim, name, lambda *args, kind=kind, fused=None, **kwargs: kind(*args, **kwargs))
    return Watch()


def watched(watch: Watch, function: Callable[..., Any], ends: bool = False) -> Callable[..., Any]:
    """The function under `watch`; `ends`: then it raises FittedError."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with watch:
            found = function(*args, **kwargs)
        if ends:
            raise FittedError
        return found

    return call


def rewarded(length: int, action: float) -> Played:
    """An episode that a time limit cuts."""
    seen, chunks, success = chain(length, action, False)
    return Played(seen, chunks, success, Rewards(torch.full((length,), -1.0), torch.ones(length)))


def temporal_difference(best: bool, *args: Any) -> Objective:
    def draws(rows: Tensor, critic: Any, generator: torch.Generator) -> Tensor:
        return torch.randn((len(rows), 3, HORIZON, 1), generator=generator, device=rows.device)

    made, replay, backup = args
    return TemporalDifference(made, replay, draws, best, backup)


METHODS: dict[str, Callable[..., Objective]] = {
    **OBJECTIVES,
    "td, policy": partial(temporal_difference, False),
    "td, best": partial(temporal_difference, True),
}
RETURNING = ("monte_carlo_return", "iql", "ivl", "td, best")  # also fitted to returns


@pytest.mark.parametrize(
    ("method", "returns"), [*((name, False) for name in METHODS), *((name, True) for name in RETURNING)]
)
def test_a_critic_is_fitted_without_the_host(
    method: str, returns: bool, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replay, targets and noise are on the device; the host reads the loss of the first update alone."""
    episodes = [rewarded(6, 1.0), rewarded(5, -1.0)] if returns else [chain(6, 1.0, True), chain(6, -1.0, False)]
    replay = build_replay(episodes * 8)
    objective = METHODS[method](new_critic(method).to(META), replay, OWN)
    if isinstance(objective, Outcome):
        objective._updates = objective.RETURN_ALONE  # from where it bootstraps, after the first update
    if isinstance(objective, Outcome | ImplicitValue):
        objective.finish = dict  # type: ignore[method-assign]
    monkeypatch.setattr(critic, "fit", watched(watch, fit))
    fit_objective(objective, replay.learnable, STEPS, 16, Generator(META), "")
    assert watch.reads == 1
    assert all(parameter.device == META for parameter in objective.module.parameters())


@pytest.mark.parametrize("method", ["sarsa", "iql", "ivl", "td, best"])
def test_critics_of_several_tasks_are_fitted_without_the_host(
    method: str, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses of the first update are read, and no others; before, which rows are learnable."""
    every = property(lambda replay: torch.arange(len(replay), device=META))  # their number depends on the data
    monkeypatch.setattr(TasksReplay, "learnable", every)
    ones = torch.ones(3, 6)
    shared = [rewarded(6, action)._replace(rewards=Rewards(-ones, ones)) for action in (1.0, -1.0)]
    stack = stacked(new_critic(method), 3).to(META)
    objective = METHODS[method](stack, build_replay(shared * 8), OWN)
    assert isinstance(objective, Bootstrapping)
    training = GoingOn(objective, 16, 0)
    watched(watch, training.run)(STEPS, lambda: None, STEPS, "")
    assert watch.reads == 3


def test_rows_that_teach_no_dynamics_are_left_out_or_count_nothing() -> None:
    """The device keeps all rows of a batch, for it does not tell the host how many there are."""
    replay = build_replay([chain(9, 1.0, True), chain(9, -1.0, False)] * 10)
    objective = Outcome(new_critic("outcome"), replay)
    torch.nn.init.normal_(objective.critic.dynamics.output.weight)
    rows = torch.arange(len(replay))
    shown = ~objective._held_out[rows]
    assert 0 < shown.sum() < len(rows)
    left_out = dynamics_loss(objective.critic.dynamics, objective.replay, rows[shown])
    torch.testing.assert_close(dynamics_loss(objective.critic.dynamics, objective.replay, rows, shown), left_out)
    assert not torch.isclose(dynamics_loss(objective.critic.dynamics, objective.replay, rows), left_out)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Workspace, Path]:
    """The options of a training, its workspace on the meta device, and rollouts."""
    folder = tmp_path_factory.mktemp("played")
    asked = [*OUTSIDE, f"data={folder}/data", f"checkpoints={folder}/mine"]
    settings = read_command("train", asked)
    run_stages(["rollouts"], settings.workspace(), settings.recipe(), workers=0)
    (path,) = (folder / "data" / "toy_task").glob("rollouts_*.hdf5")
    return asked, replace(settings.workspace(), device=META), path


@pytest.mark.parametrize("family", ["flow", "diffusion"])
def test_a_policy_is_cloned_without_the_host(
    family: str, played: tuple[list[str], Workspace, Path], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, workspace, path = played
    monkeypatch.setattr(policy, "fit", watched(watch, fit, ends=True))
    with pytest.raises(FittedError):
        train_policy(workspace, family, Cloning({"width": 16, "depth": 1}, STEPS, 16), read_hdf5(path), path)
    assert watch.reads == 1


@pytest.mark.parametrize(("stage", "module"), [("critic", critic), ("posterior", posterior)])
def test_the_stages_fit_on_the_device(
    stage: str, module: Any, played: tuple[list[str], Workspace, Path], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, workspace, _ = played
    monkeypatch.setattr(module, "fit", watched(watch, fit, ends=True))
    with pytest.raises(FittedError):
        run_stages([stage], workspace, read_command("train", asked).recipe(), workers=0)
    assert watch.reads == 1


def learned_on_meta(options: list[str], watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn until the first evaluation, which would steer by weights that are not there."""

    def steer(at: Learner) -> None:
        assert at.critic.device == META
        assert all(actor.log_temperature.device == META for actor in at.actors.values())
        raise FittedError

    monkeypatch.setattr(online, "resolve_device", lambda *_: META)
    monkeypatch.setattr(critic, "fit", watched(watch, fit))
    monkeypatch.setattr(GoingOn, "run", watched(watch, GoingOn.run))
    monkeypatch.setattr(learner, "fit_actors", watched(watch, fit_actors))
    monkeypatch.setattr(Learner, "_models", steer)
    monkeypatch.setattr(online, "rehearse", lambda *_: None)
    settings = read_command("learn", options)
    with pytest.raises(FittedError):
        learn(settings)


@pytest.mark.parametrize("sampler", ["dsrl", "edit"])
def test_learning_while_steering_fits_on_the_device(
    sampler: str, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = [argument for argument in TOY if "qpilots_u" not in argument]
    learned_on_meta([*toy, f"samplers=[{sampler}]", "method=sarsa", f"output={tmp_path}/run"], watch, monkeypatch)
    assert watch.reads == 1


@pytest.mark.parametrize("changes", [["method=td"], ["method=iql", "samplers=[edit]"]])
def test_learning_from_data_fits_on_the_device(
    changes: list[str], tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that the policy drew at all steps are gathered there too."""
    write_walks(tmp_path / "walks.hdf5")
    sizes = [f"offline={STEPS}", f"updates={STEPS}", "rows=16", "workers=0"]
    options = [*TOY[:2], "samplers=[best_of_n]", f"data={tmp_path}/walks.hdf5", *sizes, *changes]
    learned_on_meta([*options, f"output={tmp_path}/run"], watch, monkeypatch)
    assert watch.reads == 1


@pytest.mark.parametrize("command", ["train", "learn"])
def test_a_device_that_is_not_there_is_refused_at_once(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folders = ["data", "checkpoints"] if command == "train" else ["output"]
    options = read_command(command, [*OUTSIDE[:2], "device=cuda", *(f"{name}={tmp_path}/{name}" for name in folders)])
    with pytest.raises(RunError, match=r"^device is cuda, and torch finds no GPU; accepted: auto, cpu$"):
        (train.run if command == "train" else learn)(options)
    assert not list(tmp_path.iterdir())


def test_cards_name_the_device_of_a_fit_that_is_not_the_cpu() -> None:
    assert trained_on(torch.device("cpu")) == {}
    assert trained_on(torch.device("cuda")) == {"device": "cuda"}
