"""Noise schedules for your own policies; see `policies.schedule`."""

from policies.schedule import CosineVP, LinearPath, Schedule

__all__ = ["CosineVP", "LinearPath", "Schedule"]
