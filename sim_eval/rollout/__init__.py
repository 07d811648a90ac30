"""Rollouts: keys, environments and where they live, one decision batch, and its cost."""
