"""Choosing steering strengths, on keys of their own."""
