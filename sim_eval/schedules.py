"""Noise schedules for policies of your own; see `policies.schedule`."""

from policies.schedule import CosineVP, LinearPath, Schedule

__all__ = ["CosineVP", "LinearPath", "Schedule"]
