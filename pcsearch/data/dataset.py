"""What every reader returns: image sources, parts and the dataset they make up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


class ImageSource(Protocol):
    """A picklable sequence of images, decoded or drawn one at a time and on demand."""

    @property
    def key(self) -> str:
        """Fingerprint (SHA-256, hex) of what the images are made from; equal ones share a store.

        Of files it goes over paths, names, sizes and modification times, not over their bytes: a
        file that changed under the same size and time keeps its key (see `sources`). Of arrays
        it goes over the pixels.
        """

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """How messages call image `index`, for example its path."""

    def image(self, index: int) -> Image.Image:
        """Image `index` as 8-bit RGB; OSError when it cannot be read."""


@dataclass(frozen=True)
class Part:
    """Images with their labels.

    Attributes:
        images: n images.
        labels: [n] class numbers from 0.
        boxes: [n, 4] x, y, width, height of the object in pixels of the image as it is stored,
            or None where the dataset has none.
        groups: [n] numbers; images of one group (one specimen, one burst, one video) must not be
            split between training and validation. None where the dataset states none.
    """

    images: ImageSource
    labels: Int64Array
    boxes: Float32Array | None = None
    groups: Int64Array | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images, but {len(self.labels)} labels")
        if self.boxes is not None and self.boxes.shape != (len(self.labels), 4):
            raise ValueError(f"boxes are {self.boxes.shape}, not ({len(self.labels)}, 4)")
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise ValueError(f"{len(self.groups)} groups, but {len(self.labels)} labels")


@dataclass(frozen=True)
class Dataset:
    """A classification dataset as its authors split it.

    Attributes:
        id: the catalogue's id.
        class_names: N names; label i means class_names[i].
        train: the official training images, and the validation images where some are given.
        test: the test images, None if there are none.
        given_val: the indices into `train` that the dataset sets aside for validation, or None.
        ancestors: for each class, the names of those above it in the dataset's class hierarchy,
            the nearest first; None where there is no hierarchy.
        held_out: where the test part was held out here, 16 hex digits that say which files it has;
            else empty.
    """

    id: str
    class_names: tuple[str, ...]
    train: Part
    test: Part | None
    given_val: Int64Array | None = None
    ancestors: tuple[tuple[str, ...], ...] | None = None
    held_out: str = ""

    @property
    def num_classes(self) -> int:
        """N, the number of classes."""
        return len(self.class_names)
