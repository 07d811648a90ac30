"""Errors, files and the values in them, numbers as texts, the machine: every other package stands on these."""
