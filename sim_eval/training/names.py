"""The names that training takes as options, for commands that have to be quick: torch is not loaded."""

from __future__ import annotations

#: Objectives of critics (`critics.objectives.OBJECTIVES`).
METHODS = ("monte_carlo", "monte_carlo_return", "sarsa", "iql", "outcome")
#: Those that learn returns where a task has rewards of its own; the others learn success.
OF_RETURNS = ("monte_carlo_return", "sarsa", "iql", "td")
#: Of a critic that goes on learning beside recorded data, and what "td" values at a chunk's end.
TD = "td"
GOING_ON = ("monte_carlo_return", "sarsa", "iql", TD)
BOOTSTRAPS = (POLICY, BEST, STEERED) = ("policy", "best", "steered")

#: Stages of training a task, in order, and those for a policy that is trained elsewhere.
STAGES = ("demos", "policy", "rollouts", "critic", "posterior")
OUTSIDE = ("rollouts", "critic", "posterior")

#: Optimiser steps of a fit at least: the learning rate rises over a tenth of them, which must be more than one.
LEAST_STEPS = 20
