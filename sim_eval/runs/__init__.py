"""Writing and reading a run's folder: records, actions, provenance and the index of videos."""
