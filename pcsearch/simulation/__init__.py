"""Campaigns on a virtual clock: the same decisions as a live run, on machines that nobody pays for.

Knows neither torch nor Ray.
"""
