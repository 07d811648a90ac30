"""Labels of a table's rows: the shortest that tell them apart, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim_eval.analysis.grouping import Setup, told_apart
from sim_eval.analysis.options import (
    critic_options,
    given_options,
    policy_options,
    said_value,
    sampler_options,
    task_options,
)
from sim_eval.runs.reader import Run
from sim_eval.runs.records import BASELINE

#: What the rows of a table may be: the samplers of one policy, or policies, checkpoints and options.
SAMPLER, POLICY = "sampler", "policy"
BY = (SAMPLER, POLICY)


@dataclass(frozen=True)
class _Options:
    """A setup's options of one kind. `among`: what setups share whose differences in these are worth a word."""

    among: Hashable
    values: dict[str, Any]


def common_options(runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the task, and those of the policy, that all runs of a table share.

    Of several policies the options are none. What another harness ran says nothing.
    """
    own = [run for run in runs if run.foreign is None]
    one_policy = len({run.config["policy"] for run in own}) == 1
    given = [{f"policy.{name}": value for name, value in given_options(run).items()} for run in own if one_policy]
    return _shared([task_options(run) for run in own]), _shared(given)


def row_labels(setups: Sequence[Setup], by: str) -> list[str]:
    """The label of each row: the sampler or, by policy, the policy, and the options in which it differs from others.

    By policy a sampler is named where samplers differ, and it is not unsteered. Labels that are still equal
    get a run's name.
    """
    own = [setup for setup in setups if not setup.foreign]
    several = len({setup.drawn_by for setup in own}) > 1
    options = [_options(setup) for setup in own]
    labels = []
    for setup, mine in zip(own, options, strict=True):
        differing = [_differing(kind, [other[place] for other in options]) for place, kind in enumerate(mine)]
        sampler, *rest = [_said(found) for found in differing]
        name = [setup.drawn_by]
        if by == POLICY:
            name = [setup.policy, *(name if sampler or (several and setup.drawn_by != BASELINE) else [])]
        labels.append(" ".join([*name, *sampler, *(text for texts in rest for text in texts)]))
    labels += [
        f"{setup.policy if by == POLICY else setup.sampler} ({setup.run.foreign})" for setup in setups[len(own) :]
    ]
    return told_apart(labels, [setup.runs for setup in setups])


def _options(setup: Setup) -> list[_Options]:
    """The options of the sampler, its critic, the policy, the task and the run."""
    run, sampler, policy = setup.run, setup.sampler, setup.run.config["policy"]
    of_run: dict[str, Any] = {option: run.config[option] for option in ("block", "device") if option in run.config}
    return [
        _Options(setup.drawn_by, sampler_options(run, sampler)),
        _Options((policy, setup.drawn_by), critic_options(run, sampler)),
        _Options(policy, policy_options(run)),
        _Options(None, task_options(run)),
        _Options(None, of_run),
    ]


def _differing(mine: _Options, others: Sequence[_Options]) -> dict[str, Any]:
    """Those of my options that not all the others have, with the same value."""
    alike = [other.values for other in others if other.among == mine.among]
    return {
        option: value
        for option, value in mine.values.items()
        if any(option not in values or values[option] != value for values in alike)
    }


def _shared(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = options[0] if options else {}
    return {
        option: value
        for option, value in first.items()
        if all(option in values and values[option] == value for values in options)
    }


def _said(options: Mapping[str, Any]) -> list[str]:
    """A strength as "at 0.5", the others as they are typed."""
    return [
        f"at {value:g}" if option == "strength" and isinstance(value, int | float) else f"{option}={said_value(value)}"
        for option, value in options.items()
    ]
