"""`pcsearch cluster`: start clusters with Ray's launcher and run campaigns on them."""
