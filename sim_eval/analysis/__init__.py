"""Statistics and comparisons of the records of one or more runs."""

from sim_eval.analysis.records_frame import records_frame

__all__ = ["records_frame"]
