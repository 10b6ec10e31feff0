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
from pcsearch.printable import encodable

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


class ImageSource(Protocol):
    """A picklable sequence of images. Each one is decoded or drawn on demand."""

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the images' origin. Sources with equal keys share a store.

        For files it covers paths, names, sizes and modification times, not bytes. So a file that
        changed but kept its size and time keeps its key (see `sources`). For arrays it covers the
        pixels.
        """

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of image `index` in messages, for example its path."""

    def image(self, index: int) -> Image.Image:
        """Image `index` as 8-bit RGB; OSError if it cannot be read."""


@dataclass(frozen=True)
class Part:
    """Images with their labels.

    Attributes:
        images: n images.
        labels: [n] class numbers from 0.
        boxes: [n, 4] x, y, width, height of the object in pixels of the stored image; None if the
            dataset has no boxes.
        groups: [n] numbers. Images of one group (one specimen, one burst, one video) must not be
            split between training and validation. None if the dataset states no groups.
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
    """A classification dataset, split as by its authors.

    Attributes:
        id: the catalogue's id.
        class_names: N names; label i means class_names[i]. They are `encodable`, also if they come
            from folders whose names are not UTF-8.
        train: the official training images, and the official validation images if there are some.
        test: the test images, None if there are none.
        given_val: indices into `train` of the official validation images, or None.
        ancestors: for each class, the names of the classes above it in the dataset's hierarchy, the
            nearest first; None without a hierarchy.
        held_out: 16 hex digits that identify the test files if they were held out here; else empty.
        notes: sentences on what the reader ignored or doubts in the user's own lists.
    """

    id: str
    class_names: tuple[str, ...]
    train: Part
    test: Part | None
    given_val: Int64Array | None = None
    ancestors: tuple[tuple[str, ...], ...] | None = None
    held_out: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(map(encodable, self.class_names)))

    @property
    def num_classes(self) -> int:
        """N, the number of classes."""
        return len(self.class_names)


_HalfUnpacked = Literal["refuse", "list"]
_NearDuplicates = Literal["together", "ignore"]


@dataclass(frozen=True)
class DataOptions:
    """Options of `open_dataset`. Each reader uses some of them.

    Attributes:
        root: the folder that holds the downloaded datasets.
        images: the folder of the dataset `images`.
        manifest: the CSV or Parquet file of the dataset `manifest`.
        classes: which classes to use, None for all: integers are the dataset's own numbers
            (from 1, as CUB-200-2011 writes them; from 0 for digits, CIFAR, SVHN and ImageNet),
            strings are names.
        test_fraction: the share of a class held out as test images if no test part is given.
        split_seed: the seed of that held-out part.
        near_duplicates: `together` holds out files that show the same picture together; `ignore`
            does not look for them.
        cache: the image cache, which stores thumbnails to find such files; None for this machine's
            own.
        progress: called with the number of thumbnails made and of all thumbnails.
        levels: dataset id → the level of its class hierarchy to use, for example
            {"aircraft": "family"}; the finest by default.
        instance: the random instance of `imagenet_random`, a seed from 0.
        half_unpacked: what to do about a dataset that lacks many image files or whole folders.
            `refuse` raises and names one; `list` opens it, so that `verify` can list them all.
        fieldguide: options of the drawn dataset `fieldguide`.
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
        file: its name on disk while it is needed.
        urls: where to download it; the first that answers is used.
        size_bytes: its size, None if it is not published.
        checksum: `md5:HEX` or `sha256:HEX` as published, None if there is none.
        unpack_in: the folder, relative to the root, in which it is unpacked ("" for the root). An
            archive whose members have a folder of their own needs none.
        unpack: False for a file that is not unpacked, only moved into `unpack_in`.
    """

    file: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    checksum: str | None = None
    unpack_in: str = ""
    unpack: bool = True


@dataclass(frozen=True)
class CatalogEntry:
    """The catalogue's facts about a dataset.

    Attributes:
        id: its name in recipes.
        title: its full name.
        classes: N, None if the user's data or options decide.
        reader: reads it, or raises UserError.
        description: what the images are, and how they are split.
        citation: the publication to cite, empty if there is none.
        terms: licence or terms of use.
        homepage: where it is published, empty if there is nothing to download.
        images: official number of images of each part (`train`, `val`, `test`) with all classes;
            empty if the user's data or options decide.
        folder: its folder within `data.root`, as its archive or torchvision names it.
        other_folders: other names of that folder that its reader accepts.
        is_in: a quick check whether a folder of any name is the dataset's own folder. None if the
            dataset has no folder.
        archives: the files to download; all are needed.
        by_hand: what to fetch and where to put it, if a form or an account is needed.
        samples_per_class: training images a class in Table 1 of the paper, None if not listed.
        in_imagenet: a clause on which of its images are publicly known to be in ImageNet, on which
            most published weights were trained; empty if none are.
        is_imagenet: whether its training images are ImageNet's. Then ImageNet weights have seen the
            images that would validate.
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
