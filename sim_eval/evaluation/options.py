"""The options of every command that plays episodes: which samplers draw with which models, on which task and keys."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_eval.config.components import Component
from sim_eval.config.engine import EngineOptions, stored_workers
from sim_eval.config.options import Choice, Given, option
from sim_eval.config.samplers import SHIPPED as SHIPPED_SAMPLERS
from sim_eval.config.samplers import SamplerOptions, build_sampler, form_of
from sim_eval.config.values import one_of, shown
from sim_eval.evaluation.progress import TRACKERS, check_installed
from sim_eval.foundation.errors import RunError
from sim_eval.models import store
from sim_eval.models.options import CriticOptions, ModelOptions, critic_method
from sim_eval.models.strengths import SHIPPED, Tuned, fill_strengths, known_strengths
from sim_eval.rollout.keys import BLOCKS
from sim_eval.runs.design import Design, read_design
from sim_eval.runs.outputs import check_file, check_folder
from sim_eval.runs.stored_options import DECIDED, stored_options
from sim_eval.video.picks import Pick, check_pick, read_pick

if TYPE_CHECKING:
    from sim_eval.models.build import LoadedPolicies
    from sim_eval.samplers.sampler import Models, Sampler


@dataclass(frozen=True, kw_only=True)
class RolloutOptions(SamplerOptions, ModelOptions):
    """The episodes. `each`: `batch` if that is given, for each worker that plays whole episodes."""

    episodes: int = option(50, "paired episodes of each sampler", least=1)
    seed: int = option(0, "determines the episode keys", least=0)
    batch: int = option(
        8,
        "episodes that run at the same time; with more than two workers and a small policy, in each worker: by default "
        "fewer where there are many",
        least=1,
    )
    each: int | None = None

    @staticmethod
    def resolve(given: Given) -> None:
        given["each"] = given["batch"] if "batch" in given.named else None

    @property
    def task_name(self) -> str:
        """The task's name in keys, records and checkpoints."""
        return self.task.full_name

    def build_samplers(self) -> dict[str, Sampler]:
        """The selected samplers by name. Raises RunError for a field value that a sampler rejects."""
        return {name: build_sampler(name, config) for name, config in self.sampler.items()}

    def build_models(self, samplers: Iterable[Sampler], loaded: LoadedPolicies | None = None) -> Models:
        """The models that the samplers need, fingerprinted with the user's own code around them.

        loaded: policies that other tasks of a suite have loaded. Raises RunError if they do not fit together.
        """
        from sim_eval.models import build  # loads torch

        needs = frozenset[str]().union(*(sampler.needs for sampler in samplers))
        critic = getattr(self, "critic", None)  # learning has none yet
        root = self.checkpoints or store.ROOT
        chosen = (self.policy, critic, self.posterior)
        built = build.build_models(self.task_name, *chosen, needs, root, self.device, loaded)
        return replace(built, fingerprints={**built.fingerprints, **self._code_fingerprints()})

    def _code_fingerprints(self) -> dict[str, str]:
        """SHA-256 of the source files of a user's own task and samplers, by role: edited code is another task."""
        targets = {"task": self.task.target or ""}
        targets |= {f"sampler {name}": str(config.get("_target_", "")) for name, config in self.sampler.items()}
        own = {role: Component(role, target) for role, target in targets.items() if "/" in target}
        return {role: hashlib.sha256(component.source()).hexdigest() for role, component in own.items()}


@dataclass(frozen=True, kw_only=True)
class TunedOptions(RolloutOptions, CriticOptions):
    """The strengths. `tuned`: those that were taken from the file `strengths`."""

    strengths: Path = option(
        None,
        "file of tuned steering strengths, written by sim-eval sweep; null: the shipped ones, one a sampler for all "
        "tasks",
        kind="Path | None",
    )
    tuned: Tuned = field(default_factory=Tuned)

    @staticmethod
    def resolve(given: Given) -> None:
        """Fill in the strengths. Raises RunError for a file without any, and for a shipped sampler that has none."""
        path = given["strengths"] or SHIPPED
        task, policy, critic, samplers = (
            given["task"].full_name,
            given["policy"].label,
            given["critic"],
            given["sampler"],
        )
        tuned = known_strengths(path, task, policy, critic, samplers, critic_method(critic, task, given["checkpoints"]))
        given["sampler"], used = fill_strengths(samplers, tuned, f"task={task} policy={policy}")
        given["strengths"], given["tuned"] = path, replace(tuned, strengths=used)

    def check_tuned(self, fingerprints: Mapping[str, str]) -> None:
        """Raise RunError if the file's strengths were tuned for other models. `fingerprints`: role to SHA-256."""
        others = self.tuned.differing(fingerprints)
        if others and self.tuned.strengths:
            name = next(iter(self.tuned.strengths))
            raise RunError(
                f"the strength of sampler {name} in {self.strengths} was tuned for another {' and '.join(others)}; "
                f"give one with sampler.{name}.strength=NUMBER, or tune it: sim-eval sweep, then strengths=FILE"
            )


def default_output(*names: str) -> Path:
    """The default folder of a command that was asked for these names, with the current time in its name.

    To the microsecond: a script may start several runs in a second.
    """
    return Path("runs") / "-".join([*names, f"{datetime.datetime.now():%Y%m%d-%H%M%S-%f}"])


#: When a run stops: after all its episodes, or as soon as its comparisons are decided.
UNTIL = ("episodes", DECIDED)
_STORED_AS_THEY_ARE = ("episodes", "seed", "block", "batch", "videos", "log")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(EngineOptions, TunedOptions):
    """Run the samplers over paired episodes. `suite`: the name of the folder of several tasks that this run is in."""

    until: str = option(
        "episodes",
        "when to stop: episodes, after all of them; decided, each sampler when an anytime-valid test tells it from "
        "unsteered",
        choices=UNTIL,
    )
    block: str = option("eval", "block of keys: eval, tune or train; reported figures come from eval", choices=BLOCKS)
    videos: Pick = option(
        None,
        "videos to render after the run: rescued, broken, all, or the first N episodes; null: none",
        kind="str | None",
    )
    log: str = option(
        "none",
        "where to log success rates during the run: none, tensorboard (in the run folder) or wandb",
        choices=tuple(TRACKERS),
    )
    output: Path = option(
        None, "run folder, resumed if it exists; null: runs/<task>-<policy>-<time>", kind="Path | None"
    )
    design: Design | None = option(
        None,
        "file that fixes tasks, policy, samplers, episodes, seed, correction and reference; the run must fit it, and "
        "stores its hash before the first episode",
        kind="Path | None",
    )
    suite: str | None = None

    @staticmethod
    def resolve(given: Given) -> None:
        given["videos"] = read_pick(given["videos"] or "0")
        check_pick(given["videos"], list(given["sampler"]))
        check_installed(given["log"])
        if given["until"] == DECIDED and len(given["sampler"]) < 2:
            raise RunError(
                f"until is {DECIDED}, which compares samplers; accepted: at least two samplers, or {UNTIL[0]}"
            )
        given["output"] = given["output"] or default_output(given["task"].full_name, given["policy"].label)
        check_folder("output", given["output"])
        if given["design"] is not None:
            given["design"] = read_design(given["design"])
            asked = {"policy": given["policy"].label, "samplers": list(given["sampler"])}
            asked |= {name: given[name] for name in ("episodes", "seed")}
            given["design"].check(given["task"].full_name, asked)
            for name, needed in (("until", UNTIL[0]), ("block", "eval")):
                if given[name] != needed:
                    raise RunError(f"{name} is {given[name]}; accepted with design={given['design'].path}: {needed}")

    def stored(self) -> dict[str, Any]:
        """The content of the run folder's config.yaml: plain values. Some defaults are left out."""
        plain = {
            "task": self.task.stored(),
            "policy": self.policy.label,
            "critic": self.critic and self.critic.label,
            "samplers": list(self.sampler),
            "sampler": {name: stored_options(config) for name, config in self.sampler.items()},
            "checkpoints": self.checkpoints and str(self.checkpoints),
            "output": str(self.output),
        }
        plain |= {name: getattr(self, name) for name in _STORED_AS_THEY_ARE} | stored_workers(self.workers)
        from sim_eval.models.build import resolve_device  # loads torch

        device = resolve_device(self.device, self.policy).type
        plain |= {} if device == "cpu" else {"device": device}
        plain |= {} if self.until == UNTIL[0] else {"until": self.until}
        for role, component in (("policy", self.policy), ("critic", self.critic), ("posterior", self.posterior)):
            if component is not None and component.target is not None:
                plain |= {role: component.label, f"{role}_target": component.target}
                plain |= {f"{role}_options": dict(component.options)} if component.options else {}
        return plain


#: Block of the keys on which strengths are chosen. Reported figures come from `eval`, which shares no key with it.
TUNE = "tune"


@dataclass(frozen=True, kw_only=True)
class SweepOptions(EngineOptions, RolloutOptions, CriticOptions):
    """Try steering strengths on the tune block of keys."""

    critic: Component = option(Choice("default"), "the critic that steers, as for sim-eval evaluate", kind="Choice")
    samplers: tuple[str, ...] = option(
        ("value_guided", "qpilots_u", "qpilots_m"),
        "samplers to tune; of one without a strength, such as best_of_n, strengths are numbers of draws",
        entries=1,
    )
    strengths: tuple[float, ...] = option(
        (0.1, 0.3, 0.6, 1.0, 2.0),
        "strengths to try for each sampler, in place of its option strength or number of draws",
        least=0,
        entries=1,
    )
    episodes: int = option(50, "paired episodes per strength, from the tune block of keys", least=1)
    batch: int = option(16, "episodes that run at the same time", least=1)
    results: Path = option(Path("results/sweeps"), "folder of all trials, one file <task>-<policy>-<critic>.json each")
    choose: bool = option(
        True,
        "write to output each sampler's smallest strength whose success lies within one standard error of its best",
    )
    output: Path = option(
        None, "file of chosen strengths, for strengths=FILE; null: <results>/strengths.yaml", kind="Path | None"
    )

    @staticmethod
    def resolve(given: Given) -> None:
        if given["critic"] is None:
            raise RunError("critic is none; every sampler with a strength needs a critic")
        for name, config in given["sampler"].items():
            if name in SHIPPED_SAMPLERS:
                one_of("samplers", name, [other for other in SHIPPED_SAMPLERS if dial(form_of(other).config())])
            if (turned := f"sampler.{name}.{dial(config)}") in given.named:
                tried = shown(given["strengths"])
                raise RunError(
                    f"{turned} is given, and strengths={tried} are tried; accepted: what to try in strengths=..."
                )
        given["output"] = given["output"] or given["results"] / "strengths.yaml"
        check_folder("results", given["results"])
        check_file("output", given["output"])

    @property
    def steered(self) -> list[str]:
        """The samplers with a strength."""
        return [name for name, config in self.sampler.items() if dial(config) == "strength"]

    @property
    def published(self) -> Path:
        """The file of every trial of this task, policy and critic."""
        return self.results / f"{self.task_name}-{self.policy.label}-{self.critic.label}.json"


def dial(config: Mapping[str, Any]) -> str | None:
    """The field that a sweep turns: a sampler's strength, without one the number of draws; None for neither."""
    return next((field for field in ("strength", "n") if field in config), None)
