"""From images on disk (or drawn) to batches: datasets, splits, the image cache, augmentation.

`catalog.open_dataset` reads a dataset, `prepared.prepare_training` decodes its images once,
`splits.split_for` sets validation images aside, `batches.TrainBatches` feeds the training loop.
Only `batches` imports torch.
"""
