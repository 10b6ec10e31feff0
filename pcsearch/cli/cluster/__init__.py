"""`pcsearch cluster`: clusters that Ray's launcher starts, and campaigns on them."""
