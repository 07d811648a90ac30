"""Rollouts: episode keys, environments, batched decisions and their cost, in processes here or on a Ray cluster."""
