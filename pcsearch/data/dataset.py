"""A dataset: its images and parts, the options that select it, and its entry in the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcsearch.data.fieldguide.options import FieldguideOptions

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


_HalfUnpacked = Literal["refuse", "list"]
_NearDuplicates = Literal["together", "ignore"]


@dataclass(frozen=True)
class DataOptions:
    """Options of `open_dataset`; a reader uses those that concern it.

    Attributes:
        root: the folder that holds the downloaded datasets.
        images: the folder of the dataset `images`.
        manifest: the CSV or Parquet file of the dataset `manifest`.
        classes: which classes to use, None for all: integers are the dataset's own numbers
            (from 1, as CUB-200-2011 writes them; from 0 for digits, CIFAR, SVHN and ImageNet),
            strings are names.
        test_fraction: the share of a class held out as test images where no test part is given.
        split_seed: the seed of that held-out part.
        near_duplicates: whether files that show the same picture are held out `together`; `ignore`
            does not look for them.
        cache: the image cache, which keeps thumbnails for that; None for this machine's own.
        progress: told of thumbnails made for that, and how many there are in all.
        levels: dataset id → the level of its class hierarchy to use, for example
            {"aircraft": "family"}; the finest where it is left out.
        instance: which of the random instances of `imagenet_random`, a seed from 0.
        half_unpacked: what to do about a dataset that lacks many of its image files or whole
            folders of them: `refuse` raises and names one; `list` opens it, so that whoever looks
            at its images can tell all that are missing.
        fieldguide: what the drawn dataset `fieldguide` looks like.
    """

    root: Path = Path("data")
    images: Path | None = None
    manifest: Path | None = None
    classes: tuple[int | str, ...] | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    near_duplicates: _NearDuplicates = "together"
    cache: Path | None = None
    progress: Callable[[int, int], None] | None = field(default=None, compare=False, repr=False)
    levels: Mapping[str, str] = field(default_factory=dict)
    instance: int = 0
    half_unpacked: _HalfUnpacked = "refuse"
    fieldguide: FieldguideOptions = field(default_factory=FieldguideOptions)


@dataclass(frozen=True)
class Archive:
    """A file that `pcsearch data get` downloads.

    Attributes:
        file: the name it is kept under while it is needed.
        urls: where it is, the first that answers is used.
        size_bytes: its size, None where nobody states it.
        checksum: `md5:HEX` or `sha256:HEX` as published, None where none is.
        unpack_in: the folder, relative to the root, in which it is unpacked ("" for the root);
            an archive whose members already lie in a folder of their own needs no other.
        unpack: False for a file that is used as it is, and moved into `unpack_in`.
    """

    file: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    checksum: str | None = None
    unpack_in: str = ""
    unpack: bool = True


@dataclass(frozen=True)
class CatalogEntry:
    """What is known about a dataset.

    Attributes:
        id: its name in recipes.
        title: its full name.
        classes: N, None where the person's data or options decide.
        reader: reads it, or raises UserError.
        description: what the images are, and how they are split.
        citation: the publication to cite, empty if there is none.
        terms: licence or terms of use.
        homepage: where it is published, empty if nothing is to be downloaded.
        images: official number of images of each part (`train`, `val`, `test`) with all classes;
            empty where the person's data or options decide.
        folder: its folder within `data.root`, as its archive or torchvision names it.
        other_folders: what else its reader takes for that folder.
        is_in: whether a folder, whatever its name, is the dataset's own as its reader knows it; a
            glance. None where the dataset has no folder.
        archives: what can be downloaded; all of them are needed.
        by_hand: what to fetch and where to put it, where a form or an account is needed.
        samples_per_class: training images a class as Table 1 of the paper lists them, None where
            it does not.
        in_imagenet: a clause on what is publicly known of its images among ImageNet's, which most
            published weights were trained on; empty where nothing is.
        is_imagenet: whether its training images are ImageNet's, so that such weights have seen
            what would validate.
        levels: names of the class hierarchy's levels, the finest (and default) first.
    """

    id: str
    title: str
    classes: int | None
    reader: Callable[[DataOptions], Dataset]
    description: str
    citation: str
    terms: str
    homepage: str
    images: Mapping[str, int] = field(default_factory=dict)
    folder: str = ""
    other_folders: tuple[str, ...] = ()
    is_in: Callable[[Path], bool] | None = None
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""
    samples_per_class: float | None = None
    in_imagenet: str = ""
    is_imagenet: bool = False
    levels: tuple[str, ...] = ()
