"""Runs on disk or in an object store: folders, journals, locks. They know nothing of Ray."""
