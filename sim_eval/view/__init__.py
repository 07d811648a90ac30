"""A local, read-only page over all run folders."""
