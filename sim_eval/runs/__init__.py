"""A run's folder: records, actions, provenance."""
