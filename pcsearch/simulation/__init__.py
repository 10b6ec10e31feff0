"""Campaigns on a virtual clock: the same decisions as a live run, on simulated machines.

Uses neither torch nor Ray.
"""
