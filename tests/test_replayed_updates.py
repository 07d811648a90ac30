"""Updates as replayed graphs: here a tape of torch's operations stands for a CUDA graph."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from critics import objectives
from critics.backup import OWN
from critics.dynamics import dynamics_loss
from critics.ensemble import EnsembleCritic
from critics.implicit_value import IVL, ImplicitValue
from critics.objectives import Bootstrapping, TemporalDifference
from critics.outcome import Outcome
from critics.replay import Replay, build_replay
from critics.stacked import stacked
from policies.behaviour_cloning import behaviour_cloning_loss
from policies.chunk_policy import ChunkPolicy, PolicyConfig
from policies.posterior_net import PosteriorConfig, PosteriorNet, PosteriorTargets, distillation_loss
from sim_eval.training import going_on
from sim_eval.training.actors import EditActor, NoiseActor
from sim_eval.training.draws import PolicyDraws
from sim_eval.training.fit import fit
from sim_eval.training.going_on import GoingOn
from sim_eval.training.online_fit import fit_actors
from sim_eval.training.replayed import WARM, Captures, CudaGraphs, Replayed, cuda_graphs
from sim_eval.training.workspace import random_rows, seeded_weights
from tests import test_critics, test_stacked_critics
from tests.mixture import MixtureDenoiser
from tests.taped import TapedUpdates
from tests.test_critics import chain
from tests.test_stacked_critics import OBJECTIVES, episodes

STEPS = 12


def random_chunks(rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
    return torch.randn((len(rows), 2, test_stacked_critics.HORIZON, 1), generator=generator)


GOING_ON: dict[str, Callable[..., Bootstrapping]] = {
    **OBJECTIVES,
    "monte_carlo_return": objectives.MonteCarloReturn,
    IVL: ImplicitValue,
    "td, drawn anew": partial(TemporalDifference, next_chunks=random_chunks, best=False),
}


def eager(generator: torch.Generator) -> None:
    """The `Captures` of what is never captured."""


def same(first: Any, second: Any) -> bool:
    """Whether nested states are equal, their tensors bit for bit."""
    pairs = zip(tree_leaves(first), tree_leaves(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def replay_of(count: int, tasks: int | None) -> Replay:
    return build_replay(episodes(0 if tasks is None else slice(0, tasks))[:count])


def going_on_with(name: str, tasks: int | None, captures: Captures) -> GoingOn:
    critic = test_stacked_critics.new_critic(of_states=name == IVL)
    with seeded_weights(3):
        made = critic if tasks is None else stacked(critic, tasks)
        objective = GOING_ON[name](made, replay_of(3, tasks), backup=OWN)
    return GoingOn(objective, 16, 0, captures)


def learned_in_rounds(name: str, tasks: int | None, captures: Captures) -> list[dict[str, Any]]:
    """The states of training on a replay, on a larger one, and after going on from the state of the first."""
    training = going_on_with(name, tasks, captures)
    training.run(STEPS, lambda: None, STEPS, "test")
    states = [_copied(training.state())]
    training.see(replay_of(6, tasks))
    training.run(2 * STEPS, lambda: None, 2 * STEPS, "test")
    states.append(_copied(training.state()))
    training.restore(_copied(states[0]))
    training.run(2 * STEPS, lambda: None, 2 * STEPS, "test")
    states.append(_copied(training.state()))
    resumed = going_on_with(name, tasks, captures)
    resumed.see(replay_of(6, tasks))
    resumed.restore(_copied(states[0]))
    resumed.run(2 * STEPS, lambda: None, 2 * STEPS, "test")
    return [*states, _copied(resumed.state())]


def _copied(state: Any) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, torch.clone, state)


@pytest.mark.parametrize(
    ("name", "tasks"), [*((name, None) for name in GOING_ON), ("sarsa", 3), ("iql", 3), (IVL, 3), ("td, drawn anew", 3)]
)
def test_a_critic_that_goes_on_learns_what_it_learns_eagerly(
    name: str, tasks: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: weights, target, optimiser, generator, losses; with a replay that grows, and after a resume."""
    monkeypatch.setattr(going_on, "_LOGGED", STEPS // 2)
    taped = TapedUpdates()
    found, expected = (learned_in_rounds(name, tasks, captures) for captures in (taped, eager))
    assert same(found, expected)
    assert same(expected[1], expected[2]), "it goes back to a state"
    assert same(expected[1], expected[3]), "as another process does"
    assert not same(expected[0]["module"], expected[1]["module"])
    assert (taped.captures, taped.warmed, taped.replays) == (4, 4 * WARM, 4 * (STEPS - WARM))


def fitted(module: nn.Module, captures: Captures, loss: Callable[[torch.Generator], Tensor], **options: Any) -> Any:
    """The weights after a fit, and its losses."""
    generator = torch.Generator().manual_seed(0)
    losses = fit(module, lambda: loss(generator), generator=generator, captures=captures, **options)
    return module.state_dict(), losses, generator.get_state()


def critic_fit(method: str, captures: Captures) -> Any:
    replay = build_replay([chain(20, 1.0, True), chain(20, -1.0, False)] * 8)
    with seeded_weights(0):
        objective = objectives.OBJECTIVES[method](test_critics.new_critic(method), replay, OWN)

    def loss(generator: torch.Generator) -> Tensor:
        return objective.loss(random_rows(len(replay), 16, generator), generator)

    found = fitted(objective.module, captures, loss, steps=120, after_step=objective.after_step)
    return found, objective.finish()


def with_every_row(objective: Outcome, rows: Tensor) -> Tensor:
    """The dynamics' loss as it is computed elsewhere than on the CPU, where rows are left out."""
    return dynamics_loss(objective.critic.dynamics, objective.replay, rows, ~objective._held_out[rows])


@pytest.mark.parametrize("method", objectives.OBJECTIVES)
def test_a_refit_finds_what_it_finds_eagerly(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome critic's targets change on the way, and it keeps a network of an update in the midst."""
    monkeypatch.setattr(Outcome, "RETURN_ALONE", 60)
    monkeypatch.setattr(Outcome, "CHECK_EVERY", 20)
    monkeypatch.setattr(Outcome, "_dynamics_loss", with_every_row)
    taped = TapedUpdates()
    found, expected = (critic_fit(method, captures) for captures in (taped, eager))
    assert same(found, expected)
    assert len(expected[0][1]) == 2, "a loss of a replay is read, too"
    assert (taped.captures, taped.replays) == (1, 120 - WARM)


def cloned(family: str, captures: Captures) -> Any:
    with seeded_weights(0):
        policy = ChunkPolicy(PolicyConfig(family, {"x": 3}, action_dim=2, width=16, depth=2))
        seen, chunks = torch.randn(40, 3), torch.randn(40, policy.horizon, 2)

    def loss(generator: torch.Generator) -> Tensor:
        rows = random_rows(40, 16, generator)
        return behaviour_cloning_loss(policy, policy.network.embed(seen[rows]), chunks[rows], generator)

    return fitted(policy, captures, loss, steps=STEPS)


def distilled(captures: Captures) -> Any:
    policy = MixtureDenoiser(torch.tensor([[-0.4, 0.1]]), torch.tensor([0.5]), torch.tensor([1.0]))
    with seeded_weights(0):
        net = PosteriorNet(PosteriorConfig(3, 2, 1, width=16, depth=2, preconditioned=True), policy)
        z, x, clean, sample, cotangent, gradient = torch.randn(6, 40, 1, 2)
        targets = PosteriorTargets(
            z, x, torch.rand(40, 1, 1) * 0.9, clean, torch.randn(40, 3), sample, cotangent, gradient
        )
    return fitted(
        net, captures, lambda generator: distillation_loss(net, targets[random_rows(40, 16, generator)]), steps=STEPS
    )


@pytest.mark.parametrize("learn", [partial(cloned, "flow"), partial(cloned, "diffusion"), distilled])
def test_policies_and_posterior_nets_learn_what_they_learn_eagerly(learn: Callable[[Captures], Any]) -> None:
    taped = TapedUpdates()
    assert same(learn(taped), learn(eager))
    assert (taped.captures, taped.replays) == (1, STEPS - WARM)


def test_actors_learn_what_they_learn_eagerly() -> None:
    def learned(captures: Captures) -> list[Any]:
        with seeded_weights(0):
            critic = test_critics.new_critic()
            nn.init.normal_(critic.network.output)
            shape = 40, test_critics.HORIZON, 1
            draws = PolicyDraws(torch.randn(40, 2), torch.randn(shape), torch.randn(shape))
            actors = {kind.need: kind(2, *shape[1:]) for kind in (NoiseActor, EditActor)}
        fit_actors(actors, critic.requires_grad_(False), draws, STEPS, 16, 0, captures)
        return [actor.state_dict() for actor in actors.values()]

    taped = TapedUpdates()
    assert same(learned(taped), learned(eager))
    assert (taped.captures, taped.replays) == (2, 2 * (STEPS - WARM))


def test_what_cannot_be_captured_is_told_once_and_learned_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    """Chunks that a sampler draws on the CPU; after a growth it is not tried again."""

    def steered(rows: Tensor, critic: EnsembleCritic, generator: torch.Generator) -> Tensor:
        drawn = random_chunks(rows, critic, generator)
        return drawn * float(drawn.mean().item())

    def learned(captures: Captures) -> Any:
        objective = TemporalDifference(test_stacked_critics.new_critic(), replay_of(3, None), steered, best=True)
        training = GoingOn(objective, 16, 0, captures)
        for until in (STEPS, 2 * STEPS):
            training.see(replay_of(6, None))
            training.run(until, lambda: None, until, "test")
        return _copied(training.state())

    taped = TapedUpdates()
    assert same(learned(taped), learned(eager))
    assert (taped.captures, taped.warmed, taped.replays) == (0, WARM, 0)
    (told,) = caplog.messages
    assert re.search("cannot be captured.*_local_scalar_dense", told)


def test_only_cuda_has_graphs() -> None:
    assert cuda_graphs(torch.Generator()) is None
    update = Replayed(lambda: torch.ones(()), None)
    assert [update().item() for _ in range(2 * WARM)] == [1.0] * 2 * WARM


class Drawn:
    """Stands for a generator of a GPU."""

    def __init__(self, name: str) -> None:
        self.device, self.state = torch.device("cuda:0"), name

    def clone_state(self) -> str:
        return f"{self.state}, before"

    def graphsafe_set_state(self, state: str) -> None:
        self.state = state


@pytest.mark.parametrize("fails", [False, True])
def test_a_failed_capture_leaves_generators_and_stream_as_they_were(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a stand-in for torch.cuda, which this machine may lack: which calls are made, in which order."""
    calls: list[Any] = []

    class Stream:
        device_index = 0

        def __init__(self, device: torch.device) -> None:
            pass

        def wait_stream(self, other: Stream) -> None:
            calls.append((self, "waits for", other))

    class Graph:
        def register_generator_state(self, generator: Drawn) -> None:
            calls.append(("registered", generator.state))

        def replay(self) -> None:
            calls.append("replayed")

    @contextlib.contextmanager
    def capturing(graph: Graph, capture_error_mode: str) -> Iterator[None]:
        calls.append(capture_error_mode)
        yield

    def update() -> Tensor:
        calls.append("updated")
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.zeros(())

    own, default = Drawn("own"), Drawn("default")
    stream = Stream(own.device)
    fakes = {"CUDAGraph": Graph, "graph": capturing, "default_generators": (default,), "set_stream": calls.append}
    streams = {"Stream": Stream, "stream": contextlib.nullcontext, "current_stream": lambda device: stream}
    for name, fake in {**fakes, **streams}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    graphs = CudaGraphs(own)  # type: ignore[arg-type]
    graphs.warm(lambda: torch.zeros(()))
    aside = graphs._aside
    assert calls == [(aside, "waits for", stream), (stream, "waits for", aside)]
    calls.clear()
    with pytest.raises(RuntimeError, match="capturing") if fails else contextlib.nullcontext():
        graphs.capture(update)[0]()
    assert calls[:4] == [("registered", "own"), "thread_local", "updated", stream]
    assert calls[4:] == ([] if fails else ["replayed"])
    after = ", before" if fails else ""
    assert (own.state, default.state) == (f"own{after}", f"default{after}")
