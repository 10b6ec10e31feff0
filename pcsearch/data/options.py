"""What a person can say about a dataset: where it lies and which part of it to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pcsearch.data.fieldguide.options import FieldguideOptions

HalfUnpacked = Literal["refuse", "list"]
NearDuplicates = Literal["together", "ignore"]


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
    near_duplicates: NearDuplicates = "together"
    cache: Path | None = None
    progress: Callable[[int, int], None] | None = field(default=None, compare=False, repr=False)
    levels: Mapping[str, str] = field(default_factory=dict)
    instance: int = 0
    half_unpacked: HalfUnpacked = "refuse"
    fieldguide: FieldguideOptions = field(default_factory=FieldguideOptions)
