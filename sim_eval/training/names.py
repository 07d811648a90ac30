"""The names that training takes as options, for commands that have to be quick: torch is not loaded."""

from __future__ import annotations

#: Objectives of critics (`critics.objectives.OBJECTIVES`).
METHODS = ("monte_carlo", "monte_carlo_return", "sarsa", "iql", "outcome")

#: Stages of training a task, in order, and those for a policy that is trained elsewhere.
STAGES = ("demos", "policy", "rollouts", "critic", "posterior")
OUTSIDE = ("rollouts", "critic", "posterior")

#: Optimiser steps of a fit at least: the learning rate rises over a tenth of them, which must be more than one.
LEAST_STEPS = 20
