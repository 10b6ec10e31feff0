"""The campaign's journal: its events, what may follow what, and whether it agrees with itself."""
