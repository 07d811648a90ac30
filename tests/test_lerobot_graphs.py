"""Decisions of LeRobot's policies as replayed graphs: here a tape of torch's operations stands for a CUDA graph."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import tiny_lerobot
from policies.from_host import on_host, to_device
from policies.lerobot import build, graphs
from policies.lerobot.diffusion import DiffusionContext, LeRobotDiffusion
from policies.lerobot.flow import FlowContext, FlowVLA
from policies.lerobot.graphs import Replayed
from policies.lerobot.nested import map_rows, tensors_in
from policies.posterior_flow import PosteriorFlow
from sim_eval.runs.provenance import provenance
from sim_eval.samplers import VGPS, BestOfN, Models, QPilotsM, QPilotsU, Sampler, Unsteered, ValueGuided
from tests import tiny_pi
from tests.small_models import row_generators
from tests.taped import Taped, waits
from tests.test_lerobot_vla import VLAS, NearCritic

pytestmark = pytest.mark.usefixtures("offline")

Replayable = FlowVLA | LeRobotDiffusion
META = torch.device("meta")
SAMPLERS: list[Sampler] = [
    Unsteered(steps=3),
    BestOfN(n=2, steps=3),
    ValueGuided(strength=5.0, steps=3),
    QPilotsU(strength=5.0, keep_best=True, steps=3),
    QPilotsU(strength=5.0, jacobian=False, scale="matched", steps=3),
    QPilotsM(strength=5.0, draws=2, steps=3),
]


@pytest.fixture(scope="module", params=[*VLAS, "diffusion"])
def policy(request: pytest.FixtureRequest, offline: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place = tmp_path_factory.mktemp(request.param)
    if request.param in tiny_pi.KINDS:
        with tiny_pi.small_networks():
            yield build(str(tiny_pi.checkpoint(place, request.param)))
    else:
        yield build(str(getattr(tiny_lerobot, request.param)(place)))


@pytest.fixture(scope="module")
def replayed(policy: Replayable) -> tuple[Replayable, Taped]:
    taped = Taped()
    return policy.replayed_by(taped), taped


def seen(policy: Replayable, rows: int, seed: int = 0) -> dict[str, Any]:
    return tiny_lerobot.observations(rows, policy.request.history, seed)


def decided(policy: Replayable, sampler: Sampler, rows: int, seed: int) -> Tensor:
    models = Models(policy, NearCritic(), PosteriorFlow(policy, steps=2))
    return sampler(models, seen(policy, rows, seed), row_generators(rows, seed))


def noise(policy: Replayable, rows: int = 2, seed: int = 3) -> Tensor:
    return torch.randn((rows, policy.horizon, policy.action_dim), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_replayed_decisions_are_the_eager_ones_bit_for_bit(
    policy: Replayable, replayed: tuple[Replayable, Taped], sampler: Sampler
) -> None:
    graphed, taped = replayed
    for seed in range(2):  # other pictures, instructions of the same length, other noise
        before = taped.captures, taped.forwards
        assert torch.equal(decided(graphed, sampler, 2, seed), decided(policy, sampler, 2, seed))
        assert taped.forwards >= before[1] + sampler.steps  # type: ignore[attr-defined]
        assert not seed or taped.captures == before[0], "the first decision captures"
    assert taped.backwards or not isinstance(sampler, QPilotsM)


def test_another_number_of_rows_is_another_graph(policy: Replayable, replayed: tuple[Replayable, Taped]) -> None:
    graphed, taped = replayed
    for rows in (1, 3, 1):
        assert torch.equal(decided(graphed, Unsteered(), rows, 7), decided(policy, Unsteered(), rows, 7))
    before = taped.captures
    decided(graphed, Unsteered(), 3, 8)
    assert taped.captures == before


def test_two_contexts_in_turn_each_have_their_answer(policy: Replayable, replayed: tuple[Replayable, Taped]) -> None:
    graphed, _ = replayed
    contexts: list[Any] = [graphed.encode(seen(policy, 2, seed)) for seed in (0, 1)]
    x, t = noise(policy), policy.times(10)[3]
    answers = [graphed.clean(x, t, contexts[number]) for number in (0, 1, 0, 1)]
    expected = [policy.clean(x, t, contexts[number]) for number in (0, 1, 0, 1)]
    assert not torch.equal(answers[0], answers[1])
    assert all(map(torch.equal, answers, expected))


def test_a_gradient_is_that_of_its_own_pass(policy: Replayable, replayed: tuple[Replayable, Taped]) -> None:
    graphed, _ = replayed
    context: Any = policy.encode(seen(policy, 2))
    t = policy.times(10)[4]

    def gradients(model: Replayable) -> list[Tensor]:
        points = [noise(policy, seed=seed).requires_grad_() for seed in (1, 2)]
        values = [model.clean(point, t, context).square().sum() for point in points]
        orders = [torch.autograd.grad(values[n], points[n], retain_graph=True)[0] for n in (1, 0, 1)]
        chained = model.clean(model.clean(points[0], t, context), t, context).sum()
        return [*orders, torch.autograd.grad(chained, points[0])[0]]

    found, expected = gradients(graphed), gradients(policy)
    assert all(map(torch.equal, found, expected))
    assert not torch.equal(found[0], found[1])


def test_the_context_is_copied_once_a_decision(
    policy: Replayable, replayed: tuple[Replayable, Taped], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphed, _ = replayed
    context: Any = graphed.encode(seen(policy, 2))
    x, times = noise(policy), policy.times(10)
    copied: list[int] = []
    original = torch._foreach_copy_

    def counted(to: list[Tensor], values: list[Tensor]) -> None:
        copied.append(len(to))
        original(to, values)

    monkeypatch.setattr(torch, "_foreach_copy_", counted)
    for t in times[1:4]:
        graphed.clean(x.clone(), t, context)
    whole = len(tensors_in(context.prefix if isinstance(context, FlowContext) else context.condition)) + 2
    assert copied == [whole, 2, 2]


class Refuse(TorchDispatchMode):
    """Refuses what makes the host wait for the meta device: reads, and copies that block."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        devices = [leaf.device for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        assert META not in devices or not waits(func, args), f"{func} waits"
        found = func(*args, **kwargs)
        if torch.device("cpu") in devices and any(
            isinstance(leaf, Tensor) and leaf.device == META for leaf in tree_leaves(found)
        ):
            copied = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
            assert not copied or kwargs.get("non_blocking"), f"{func} waits"
        return found


@pytest.mark.parametrize("sampler", [*SAMPLERS, VGPS(strength=1.0, n=2, steps=3)], ids=repr)
def test_nothing_in_the_loop_waits_for_the_device(
    policy: Replayable, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: Any = map_rows(vars(policy.encode(seen(policy, 2))), lambda tensor: tensor.to(META))
    network = copy.deepcopy(policy.policy).to(META)
    there = type(policy)(network, policy._processors, policy._observations, policy.execute)
    if isinstance(there, FlowVLA):
        context: Any = FlowContext(moved["prefix"], moved["features"], there._loop(2))
    else:
        context = DiffusionContext(moved["condition"])
    monkeypatch.setattr(there, "encode", lambda observation: context)
    models = Models(there, NearCritic(), PosteriorFlow(there, steps=2))
    with Refuse():
        chunks = sampler(models, {"instruction": ["", ""]}, row_generators(2))
    assert chunks.device == META


def test_what_waits_is_refused_here_too() -> None:
    with Refuse(), pytest.raises(AssertionError, match="waits"):
        torch.ones(2).to(META)
    with Refuse(), pytest.raises((AssertionError, NotImplementedError)):
        torch.ones(2, device=META).cpu()


def double(x: Tensor, given: dict[str, Any]) -> dict[str, Any]:
    mask = torch.tensor([1.0, 0.0, 2.0], device=x.device)
    mask += 1
    return {"twice": [2 * x * mask + given["shift"]], "mask": mask}


def test_small_tensors_of_the_hosts_are_made_once() -> None:
    taped = Taped()
    with pytest.raises(RuntimeError, match="capturing"):
        taped(lambda x: (double(x, {"shift": x})["mask"],), (torch.ones(3),))
    function = Replayed(double, taped)
    for value in range(4):
        x, given = torch.full((2, 3), float(value)), {"shift": torch.tensor(value), "other": None}
        found, expected = function(x, given), double(x, given)
        assert torch.equal(found["twice"][0], expected["twice"][0])
        assert torch.equal(found["mask"], expected["mask"])
    assert (function.captured, taped.forwards) == (1, 4)


def test_kinds_beyond_the_most_are_computed_eagerly() -> None:
    taped = Taped()
    function = Replayed(lambda x: x * 3, taped, most=2)
    for length in (1, 2, 3, 4, 1, 2):
        assert torch.equal(function(torch.ones(length)), torch.full((length,), 3.0))
    assert (function.captured, taped.captures, taped.forwards) == (2, 2, 4)
    function(torch.ones(2, dtype=torch.float64))
    function(torch.ones(2).requires_grad_())
    assert taped.captures == 2


def test_a_result_outlives_the_next_run() -> None:
    function = Replayed(lambda x: x + 1, Taped())
    x = torch.zeros(2)
    first = function(x)
    x += 5  # the same object with other values is copied again
    assert torch.equal(function(x), torch.full((2,), 6.0))
    assert torch.equal(first, torch.ones(2))


def test_what_cannot_be_captured_is_told_once_and_computed_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    taped = Taped()
    function = Replayed(lambda x: x * int(x.sum().item()), taped)
    for value in (1.0, 2.0, 3.0):
        assert torch.equal(function(torch.full((2,), value)), torch.full((2,), 2 * value**2))
    assert (function.captured, taped.captures, taped.forwards) == (0, 1, 0)
    (told,) = caplog.messages
    assert re.search("cannot be captured.*_local_scalar_dense", told)


def test_graphs_stay_in_their_process() -> None:
    function = Replayed(double, graphs.cuda_graph)
    function._programs[()] = None
    assert pickle.loads(pickle.dumps(function))._programs == {}


def test_a_copy_remembers_its_original() -> None:
    values = torch.arange(3.0)
    there = to_device(values, META)
    assert on_host(there) is values
    assert on_host(values) is values
    with pytest.raises(NotImplementedError):  # of another tensor there is only the copy on the device
        on_host(there + 1)


def test_the_run_says_how_its_policy_computes() -> None:
    assert provenance({}, None, computation={"graphs": True})["computation"] == {"graphs": True}
    assert "computation" not in provenance({}, None, computation={})
