"""Reports: of comparisons, learning curves and probes, on the terminal, as pages and as files."""
