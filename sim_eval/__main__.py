"""`python -m sim_eval` is `sim-eval`."""

from sim_eval.cli import main

main()
