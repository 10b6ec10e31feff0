"""Batches for training and evaluation, from decoded images to normalised tensors on the device.

`draws` chooses crops, flips and colours from (seed, epoch, row); `feeds` brings the uint8 crops to
the device, from the mapped file or from a copy there (`residency`), ahead of the training where a
GPU computes (`prefetch`); `pixels` cuts, mirrors and normalises whole batches; `augment` changes
colours and erases.
"""

from pcsearch.data.loaders.batches import Batch, EvalBatches, TrainBatches

__all__ = ["Batch", "EvalBatches", "TrainBatches"]
