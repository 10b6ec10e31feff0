"""The search decides what is tried next, what stops early, and what is confirmed.

It is plain Python over an append-only journal and imports neither torch nor Ray. So the same
objects decide under Ray and on a simulated clock.
"""
