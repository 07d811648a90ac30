"""The commands of `sim-eval`, one file each."""
