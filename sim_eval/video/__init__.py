"""Rollout videos: replay, overlay, encoding, contact sheets. Imports no torch, as worker processes load it."""
