"""The GPU report: what `scripts/gpu` runs, row by row, in processes that may fail."""
