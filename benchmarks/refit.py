"""One ingredient of a critic at a time, on the same episodes: `python -m benchmarks.refit RUN OUTPUT [name=value ...]`.

RUN is a folder of `sim-eval learn`. A critic is fitted anew to its episodes with other options, one or more of
method, heads, pessimism, updates, rows, seed and rounds (how many steered rounds are read; all by default). It is saved
in the folder OUTPUT, which `sim-eval critic=OUTPUT` takes, and its figures are printed.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sim_eval.analysis.curves import OPTIONS
from sim_eval.commands.cli import read_command
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.samplers import Unsteered
from sim_eval.training.critic import SPREAD_STATES, normalisation, state_rows, valued_policy
from sim_eval.training.draws import policy_draws
from sim_eval.training.online import fitting_of
from sim_eval.training.online_fit import agreement, episodes_of, fit_seed, set_scale, twin_fits
from sim_eval.training.online_options import LearnOptions
from sim_eval.training.trajectories import read_hdf5
from sim_eval.training.workspace import origin

_CHANGED = ("method", "heads", "pessimism", "updates", "rows", "seed")


def settings_of(run: Path, changes: dict[str, str]) -> LearnOptions:
    """The settings of a learning folder, changed."""
    options: dict[str, Any] = json.loads((run / OPTIONS).read_text())
    task = dict(options["task"])
    arguments = [
        f"task={task.pop('name')}",
        *(f"task.{name}={value}" for name, value in task.items() if value is not None),
    ]
    arguments += [f"policy={options['policy']}", f"samplers=[{next(iter(options['sampler']))}]"]
    return read_command(
        "learn", [*arguments, *(f"{name}={changes.get(name, options[name])}" for name in _CHANGED), f"output={run}"]
    )


def main() -> None:
    run, output = Path(sys.argv[1]), Path(sys.argv[2])
    changes = dict(argument.split("=", 1) for argument in sys.argv[3:])
    rounds = int(changes.pop("rounds", 10**6))
    if unknown := changes.keys() - set(_CHANGED):
        raise SystemExit(f"{', '.join(sorted(unknown))} is unknown; accepted: {', '.join((*_CHANGED, 'rounds'))}")
    torch.set_num_threads(1)
    settings = settings_of(run, changes)
    frozen = settings.build_models([Unsteered()])
    with closing(settings.task.factory()()) as task:
        fitting = fitting_of(settings, task.spec)
    files = sorted((run / "replay").glob("*.hdf5"))[: rounds + 1]
    played = [read_hdf5(path, tuple(fitting.sizes)) for path in files]
    mean, deviation = normalisation(frozen.policy, tuple(fitting.sizes), [state_rows(episode) for episode in played[0]])
    fitting = replace(fitting, mean=mean, deviation=deviation)
    episodes = [episode for trajectories in played for episode in episodes_of(frozen.policy, trajectories)]
    number = len(files) - 1
    replay = fitting.replay(episodes)
    critic, figures = fitting(frozen.policy, replay, None, fit_seed(settings.seed, number), "critic")
    first, second = twin_fits(fitting, frozen.policy, replay, settings.seed, number)
    generator = torch.Generator().manual_seed(settings.seed + number)
    draws = policy_draws(frozen, critic, played[-1], SPREAD_STATES, generator)
    set_scale(critic, draws)
    figures["twin_agreement"] = agreement(first(), second(), draws)
    card = {"task": settings.task_name, **origin(settings.seed, {}), **valued_policy(frozen), "held_out": figures}
    save_checkpoint(output, "critic", critic, {"kind": "critic", **card})
    print(json.dumps({"episodes": len(episodes), **figures}))


if __name__ == "__main__":
    main()
