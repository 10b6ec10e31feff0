"""Parts of soak.py: what is run, what is done to it, and what is checked afterwards."""
