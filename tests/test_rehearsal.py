"""What every episode needs is tried once, before the first."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from sim_eval.config.engine import Cluster
from sim_eval.foundation.errors import ModelError, RunError
from sim_eval.rollout.rehearsal import blank, rehearse
from sim_eval.samplers import QPilotsM, QPilotsU, Sampler, Unsteered
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey, TaskError
from tests.small_models import small_models
from tests.test_one_bad_moment import Drawn
from tests.toy_models import ToyCritic, ToyDenoiser, ToyWithPictures
from tests.toy_task import ToyTask

U: dict[str, Sampler] = {"unsteered": Unsteered(), "qpilots_u": QPilotsU(0.5)}
M: dict[str, Sampler] = {"qpilots_m": QPilotsM(0.5, draws=2)}


class Closed(ToyDenoiser):
    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        with torch.no_grad():
            return super().clean(x, t, context)


class ClosedInside(Closed):
    """Its velocity has no gradient, so that steering has a fraction of its own."""

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        return x + super().clean(x, t, context)


class Dark(ToyTask):
    """It cannot draw."""

    def frame(self, camera: str, size: int) -> Any:
        raise TaskError("no GL library can draw frames")


class Fragile(ToyTask):
    """Its first episode cannot start."""

    built = 0

    def __init__(self) -> None:
        super().__init__()
        Fragile.built += 1

    def reset(self, key: EpisodeKey) -> None:
        if key.episode == 0:
            raise RuntimeError("the first start is broken")
        super().reset(key)


def tried(models: Models, samplers: dict[str, Sampler] = U, task: Any = ToyTask, workers: Any = 0) -> None:
    rehearse("toy", task, workers, samplers, models, "eval")


@pytest.mark.parametrize("samplers", [U, M], ids=["u", "m"])
def test_a_closed_denoiser_is_refused_before_the_run(samplers: dict[str, Sampler]) -> None:
    name = list(samplers)[-1]
    with pytest.raises(ModelError, match=f"^sampler {name}: the policy's `clean` has no gradient"):
        tried(Models(Closed(), ToyCritic(), Drawn()), samplers)
    unknown = Closed(observation_sizes={}, request=ObservationRequest(("position",)))
    with pytest.raises(ModelError, match=f"^sampler {name}: the policy's `clean` has no gradient"):
        tried(Models(unknown, ToyCritic(), Drawn()), samplers)
    tried(Models(Closed()), {"unsteered": Unsteered()})


def test_a_fraction_of_the_gradient_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    tried(Models(ClosedInside(), ToyCritic()))
    assert "warning: the gradient of `clean` is 1 times the identity" in capsys.readouterr().err
    tried(Models(ToyDenoiser(), ToyCritic()))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("family", ["flow", "diffusion"])
def test_the_suites_own_nets_can_be_differentiated(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    models = small_models(family)
    assert blank(models) is not None
    tried(models, U | M, task=None)  # which is not built
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_nothing_can_draw_end_the_run_in_one_line(workers: int) -> None:
    with pytest.raises(RunError, match=r"^no episode can start: TaskError: no GL library can draw frames"):
        tried(Models(ToyWithPictures()), {"unsteered": Unsteered()}, task=Dark, workers=workers)
    tried(Models(ToyDenoiser()), {"unsteered": Unsteered()}, task=Dark, workers=workers)


def test_one_broken_start_does_not_end_the_run_and_a_cluster_is_not_tried_here() -> None:
    tried(Models(ToyWithPictures()), {"unsteered": Unsteered()}, task=Fragile)
    built = Fragile.built
    assert built > 0
    tried(Models(ToyWithPictures(), ToyCritic()), task=Fragile, workers=Cluster())
    assert Fragile.built == built


def test_a_model_that_knows_no_blank_observation_goes_on() -> None:
    class Picky(ToyDenoiser):
        refused = 0

        def encode(self, observation: Any) -> Tensor:
            self.refused += not observation["position"].any()
            if not observation["position"].any():
                raise ValueError("at the origin there is nothing to do")
            return super().encode(observation)

    picky = Picky()
    tried(Models(picky, ToyCritic()), task=functools.partial(ToyTask))
    assert picky.refused, "it was asked"
