"""`pcsearch data`: datasets and the cache of decoded images."""
