"""A run's folder: records, actions, provenance, the index of videos; writing it and reading it."""
