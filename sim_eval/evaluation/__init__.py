"""The main job: samplers over the same episodes, into one run folder."""
