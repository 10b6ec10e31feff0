"""From images on disk (or drawn) to batches: datasets, splits, the image cache, augmentation.

`catalog.open_dataset` reads a dataset. `prepared.prepare_training` decodes its images once.
`splits.split_for` chooses validation images. `augmentations` has a row for each augmentation.
`loaders.TrainBatches` feeds the training loop.
Only `loaders` imports torch.
"""
