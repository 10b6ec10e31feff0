"""The search: what is tried next, what stops early, what is confirmed.

Everything here but `tune_run`, `trainable` and `lambda_probe` is plain Python over an append-only
journal: it imports neither torch nor Ray, so the same objects decide under Ray and under a
simulated clock.
"""
