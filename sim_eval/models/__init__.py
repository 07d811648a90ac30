"""The models of a run: the checkpoint store, building them from options, and the strengths of steering."""
