"""What is known about a dataset before it is opened: a catalogue entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pcsearch.data.dataset import Dataset
from pcsearch.data.options import DataOptions


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
