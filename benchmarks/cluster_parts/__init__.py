"""One file for each measurement of `benchmarks/cluster.py`."""
