"""This installation: the rows of `sim-eval list`, and the checks of `sim-eval doctor`."""
