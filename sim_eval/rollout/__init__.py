"""Rollouts: episode keys, environments and their processes, batched decisions and their cost."""
