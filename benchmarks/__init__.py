"""Measurements, run by hand (`make bench`), and the made-up inputs that the tests use too."""
