"""Statistics and comparisons of the records of one or more runs."""
