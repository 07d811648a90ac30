"""Checks of an installation, and of a policy on a task: one line each, with what to do about it."""
