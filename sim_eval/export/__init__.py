"""Runs and comparisons as one file for other programs: Parquet, CSV, LaTeX, result files of other harnesses."""
