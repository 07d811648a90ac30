"""The names that training takes as options, for commands that have to be quick: torch is not loaded."""

from __future__ import annotations

#: Objectives of critics (`critics.objectives.OBJECTIVES`).
METHODS = ("monte_carlo", "monte_carlo_return", SARSA := "sarsa", IQL := "iql", OUTCOME := "outcome", IVL := "ivl")
#: Those that learn returns where a task has rewards of its own, and go on learning beside recorded data. The others
#: learn success, and anew.
TD = "td"
BOOTSTRAPPING = ("monte_carlo_return", SARSA, IQL, IVL, TD)
#: Those whose critic is V(f(s, a)), a value of states after a learned dynamics.
OF_STATES = (OUTCOME, IVL)
#: What "td" values at a chunk's end.
BOOTSTRAPS = (POLICY, BEST, STEERED) = ("policy", "best", "steered")

#: The suffix of OGBench's play.
PLAY = ".npz"

#: Stages of training a task, in order, and those for a policy that is trained elsewhere.
STAGES = ("demos", "policy", "rollouts", "critic", "posterior")
OUTSIDE = ("rollouts", "critic", "posterior")

#: Optimiser steps of a fit at least: the learning rate rises over a tenth of them, which must be more than one.
LEAST_STEPS = 20
