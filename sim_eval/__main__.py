"""`python -m sim_eval` is `sim-eval`."""

from sim_eval.commands.cli import main

main()
