"""Choosing steering strengths on a separate block of keys."""
