"""Training one configuration: settings, the loop, evaluation, checkpoints, exported weights.

    from pcsearch.training.trainer import fit
    from pcsearch.training.config import TrainConfig

`config`, `schedule` and `metrics` do not import torch, so a plan reads them without loading it.
Therefore this file imports no module.
"""
