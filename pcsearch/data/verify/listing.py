"""All images of a dataset in one list: training, given validation and test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcsearch.data.dataset import Dataset, Int64Array, Part

Place = tuple[Part, int]


@dataclass(frozen=True)
class Images:
    """m images, in the order of the training part and then of the test part.

    Attributes:
        places: of each image, its part and its row there.
        parts: of each image, `train`, `val` or `test`.
        labels: [m] class numbers.
        class_names: N names.
    """

    places: tuple[Place, ...]
    parts: tuple[str, ...]
    labels: Int64Array
    class_names: tuple[str, ...]

    def name(self, image: int) -> str:
        """How messages call the image."""
        part, row = self.places[image]
        return part.images.name(row)

    def label(self, image: int) -> str:
        """The name of its class."""
        return self.class_names[int(self.labels[image])]


def images_of(dataset: Dataset) -> Images:
    """The images of all parts."""
    in_train = len(dataset.train.labels)
    names = np.full(in_train, "train", dtype=object)
    if dataset.given_val is not None:
        names[dataset.given_val] = "val"
    places = [(dataset.train, row) for row in range(in_train)]
    labels = dataset.train.labels
    if dataset.test is not None:
        in_test = len(dataset.test.labels)
        places += [(dataset.test, row) for row in range(in_test)]
        names = np.concatenate([names, np.full(in_test, "test", dtype=object)])
        labels = np.concatenate([labels, dataset.test.labels])
    return Images(tuple(places), tuple(names.tolist()), labels, dataset.class_names)
