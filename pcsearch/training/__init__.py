"""Training one configuration: settings, the loop, evaluation, checkpoints, exported weights.

    from pcsearch.training.trainer import fit
    from pcsearch.training.config import FitSettings

Only `settings`, `schedule` and `records` are free of torch, so that a plan can read them without
loading it; this package therefore imports none of its modules here.
"""
