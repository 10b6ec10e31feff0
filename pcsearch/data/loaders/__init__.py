"""Batches for training and evaluation, from decoded images to normalised tensors on the device.

| module | what it does |
| --- | --- |
| `augment` | draw crops, flips and parameters of augmentations from (seed, epoch, row) |
| `transfer` | bring uint8 crops to the device, on a GPU ahead of the training |
| `device_cache` | copy a set of images to a GPU once, and share it |
| `pixels` | crop, resize, mirror and normalise whole batches |
| `operations` | RandAugment's and TrivialAugment's operations on whole batches |
| `batches` | the batches of an epoch and of an evaluation |
| `features` | the same of cached features, for a frozen body |
"""

from pcsearch.data.loaders.batches import Batch, EpochBatches, EvalBatches, TrainBatches
from pcsearch.data.loaders.features import FeatureEvalBatches, FeatureTrainBatches

__all__ = [
    "Batch",
    "EpochBatches",
    "EvalBatches",
    "FeatureEvalBatches",
    "FeatureTrainBatches",
    "TrainBatches",
]
