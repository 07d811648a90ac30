"""Does a policy do what it is told? The goal that it reaches under each instruction, and success under other wordings.

    python -m benchmarks.instructions swap policy=mini_vla_strong goals=0,1,8 episodes=25
    python -m benchmarks.instructions wordings policy=mini_vla_strong episodes=10

`swap` starts LIBERO-Goal's scene as each task does, tells the policy each instruction, and notes which of the goals is
reached first, by LIBERO's own predicates. `wordings` runs each task under instructions that training never saw.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

import sim_eval
from tasks.libero_files import task_files
from tasks.libero_suites import SUITES
from tasks.libero_task import LiberoTask
from tasks.naming import full_name
from tasks.task import Outcome

_SUITE = SUITES["libero_goal"]

#: Instructions that are not in configs/mini_vla.yaml.
WORDINGS = {
    "lift": (
        "get the red cube off the table",
        "grasp the red cube and hold it up",
        "please lift the little cube",
        "raise the cube",
        "pick the block up",
    ),
    "can": (
        "drop the can in its compartment",
        "grab the can and put it into the other bin",
        "carry the can to the right bin",
        "please put away the can",
        "bring the can to the container",
    ),
    "square": (
        "put the nut on the square peg",
        "hang the square nut on its peg",
        "place the nut over the post",
        "take the nut and lower it onto the peg",
        "please mount the square nut",
    ),
    "libero_spatial": (
        "put the bowl beside the ramekin on the plate",
        "place the black bowl from between the ramekin and the plate on the plate",
        "lift the bowl that stands next to the ramekin onto the plate",
        "pick the bowl up between the plate and ramekin and put it onto the plate",
        "please set the black bowl near the ramekin on the plate",
    ),
    "libero_object": (
        "pick up the alphabet soup and put it in the basket",
        "drop the alphabet soup into the basket",
        "get the soup into the basket",
        "please put the soup can in the basket",
        "grab the alphabet soup, then place it inside the basket",
    ),
    "libero_goal": (
        "pull the middle drawer out",
        "open the cabinet's middle drawer",
        "please open the middle drawer",
        "slide out the middle layer of the drawer",
        "get the drawer in the middle to open",
    ),
}


class ToldTask(LiberoTask):
    """Starts as task `start` of LIBERO-Goal, is told and judged as task `told`, and ends when any goal is reached.

    `noted`: number of episodes by the goal reached first, -1 for none.
    """

    def __init__(self, start: int, told: int, goals: tuple[int, ...], noted: Counter[int]) -> None:
        super().__init__(full_name(_SUITE.name, start), _SUITE, start)  # whose name selects the published starts
        problems = {goal: _problem(goal) for goal in goals}
        self.spec = replace(self.spec, instruction=" ".join(problems[told]["language_instruction"]))
        self._env.parsed_problem["goal_state"] = problems[told]["goal_state"]
        self._told, self._noted = told, noted
        self._others = {goal: problem["goal_state"] for goal, problem in problems.items() if goal != told}

    def step(self, action: np.ndarray) -> Outcome:
        outcome = super().step(action)
        if outcome.success:
            self._noted[self._told] += 1
            return outcome
        for goal, states in self._others.items():
            if all(self._env._eval_predicate(state) for state in states):
                self._steps_left = 0
                self._noted[goal] += 1
                return Outcome(0.0, False, done=True)
        if outcome.done:
            self._noted[-1] += 1
        return outcome


def _problem(goal: int) -> dict:
    import libero.libero.envs.bddl_utils as bddl_utils

    problem: dict = bddl_utils.robosuite_parse_problem(str(task_files(_SUITE, goal).bddl))
    return problem


def swap(policy: str, goals: tuple[int, ...], episodes: int) -> None:
    """Print, for each pair of a start and an instruction, how many episodes reached which goal."""
    print(f"{'start':>6} {'told':>5}   " + "".join(f"{f'goal {goal}':>8}" for goal in goals) + f"{'none':>8}")
    for start, told in product(goals, goals):
        noted: Counter[int] = Counter()
        make_task = functools.partial(ToldTask, start, told, goals, noted)
        with tempfile.TemporaryDirectory() as folder:
            sim_eval.evaluate(make_task, policy, None, samplers=["unsteered"], episodes=episodes, output=folder)
        counts = "".join(f"{noted[goal]:>8}" for goal in (*goals, -1))
        print(f"{start:>6} {told:>5}   {counts}", flush=True)


def wordings(policy: str, episodes: int) -> None:
    """Print each task's successes under its own instruction and under each of `WORDINGS`."""
    for task, texts in WORDINGS.items():
        for text in (None, *texts):
            options = {"name": task} if text is None else {"name": task, "instruction": text}
            with tempfile.TemporaryDirectory() as folder:
                run = sim_eval.evaluate(
                    options, policy, None, samplers=["unsteered"], episodes=episodes, output=Path(folder) / "run"
                )
                won = sum(record.success for record in run.records)
            print(f"{task:<15} {won:>3} of {episodes}   {text or '(its own instruction)'}", flush=True)


def main(arguments: list[str]) -> None:
    """`swap` or `wordings`, then policy=NAME, episodes=N and, for `swap`, goals=I,J,K."""
    kind, *given = arguments or ["swap"]
    options = dict(argument.split("=", 1) for argument in given)
    policy, episodes = options.get("policy", "mini_vla_strong"), int(options.get("episodes", "25"))
    if kind == "swap":
        swap(policy, tuple(int(goal) for goal in options.get("goals", "0,1,8").split(",")), episodes)
    else:
        wordings(policy, episodes)


if __name__ == "__main__":
    main(sys.argv[1:])
