"""What `benchmarks/data_path.py` measures, a file a measurement."""
